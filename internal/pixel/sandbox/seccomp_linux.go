//go:build linux && (amd64 || arm64)

package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowed are the system calls of a worker: those with which Go's runtime
// manages threads, memory and time, and reading and writing what is open.
// Nothing opens, connects, starts or signals anything else. What is not allowed
// fails with EPERM, so that a call this list forgot is an error, not a crash.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_GETRANDOM,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	unix.SYS_TIMER_SETTIME, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// filter installs the list for all threads.
func filter() error {
	const (
		number   = 0  // offsets in struct seccomp_data
		arch     = 4  //
		argument = 16 // of the first, its low half; 8 bytes each
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	end := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	deny, permit := end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), end(unix.SECCOMP_RET_ALLOW)
	// only permits a call when an argument has all, or none, of some bits.
	only := func(call, at, bits uint32, have bool) []unix.SockFilter {
		test := jump(unix.BPF_JSET, bits, 1, 0) // skips the permit
		if have {
			test = jump(unix.BPF_JSET, bits, 0, 1)
		}
		return []unix.SockFilter{jump(unix.BPF_JEQ, call, 0, 4), load(at), test, permit, deny}
	}
	p := []unix.SockFilter{load(arch), jump(unix.BPF_JEQ, auditArch, 1, 0), end(unix.SECCOMP_RET_KILL_PROCESS), load(number)}
	for _, call := range allowed {
		p = append(p, jump(unix.BPF_JEQ, call, 0, 1), permit)
	}
	p = append(p, only(unix.SYS_MMAP, argument+2*8, unix.PROT_EXEC, false)...)
	p = append(p, only(unix.SYS_MPROTECT, argument+2*8, unix.PROT_EXEC, false)...)
	p = append(p, only(unix.SYS_CLONE, argument, unix.CLONE_THREAD, true)...)
	// Signals to this process alone: Go's runtime uses them on its threads.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_TGKILL, 0, 4), load(argument), jump(unix.BPF_JEQ, uint32(unix.Getpid()), 0, 1), permit, deny)
	// C libraries try clone3 first, and then clone.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), end(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), deny)
	program := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	const allThreads = 1 // SECCOMP_FILTER_FLAG_TSYNC
	r, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, allThreads, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return e
	}
	if r != 0 { // a thread that could not be confined
		return unix.EPERM
	}
	return nil
}
