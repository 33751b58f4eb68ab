// Package crash holds tests that take the server down the way the world does:
// kill -9 under load, a power cut of the file systems below it, a disk without
// room. They run the real program as a child process, and after each blow hold
// it to its promise: whatever was acknowledged is there, byte for byte, and is
// found; verify is clean; and sending anything again sticks at nothing.
//
// The power cuts and full disks need root on Linux, for loop-mounted file
// systems, and are skipped elsewhere. A power cut here is ext4's shutdown: what
// was not synced is gone. The disk below loses and reorders nothing, so a disk
// that lies about its cache is not covered.
//
// STRATA_CRASH_ROUNDS sets the number of rounds, STRATA_CRASH_SEED repeats the
// choices of a run (its timing cannot be repeated).
package crash
