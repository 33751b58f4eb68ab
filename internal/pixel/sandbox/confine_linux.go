package sandbox

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// niceness is how much a worker stands back behind the server that started it:
// as far as can be, so that who looks something up does not wait for who decodes.
const niceness = 19

// lower makes this process less important than others, and its memory nobody's
// to look at or keep. All of this is as far as the system allows.
func lower() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks { // on Linux each thread has its own priority; new ones inherit
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness)
		}
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// confine takes away what a worker needs no more once the codecs are compiled:
// files, network, other processes, new code. It reports whether the filter of
// system calls is in place; without it the limits hold nevertheless, and the
// codecs are still confined to WebAssembly.
func confine() bool {
	const most = 1 << 30 // address space beyond what is reserved by now
	if size := addressSpace(); size > 0 {
		_ = unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: size + most, Max: size + most})
	}
	_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{})
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 16, Max: 16})
	if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil {
		return false
	}
	return filter() == nil
}

// addressSpace is the size of this process' address space, 0 when unknown.
func addressSpace() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	n := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + uint64(c-'0')
	}
	return n * uint64(unix.Getpagesize())
}

// deadline is a timer of the kernel that kills this process when it has used so
// much of a processor, whether its parent lives or not: nothing else can
// interrupt the codecs.
type deadline struct{ id int32 }

func newDeadline() (*deadline, error) {
	var event struct { // struct sigevent
		value          uint64
		signal, notify int32
		_              [48]byte
	}
	event.signal = int32(unix.SIGKILL)
	d := new(deadline)
	_, _, e := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_PROCESS_CPUTIME_ID, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&d.id)))
	if e != 0 {
		return nil, e
	}
	return d, nil
}

// after sets the timer; 0 stops it.
func (d *deadline) after(millis uint32) error {
	var spec struct{ interval, value unix.Timespec } // struct itimerspec
	spec.value = unix.NsecToTimespec(int64(millis) * 1e6)
	_, _, e := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(d.id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// processorTime is what this process has used of a processor, in microseconds.
func processorTime() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return uint64(t.Nano() / 1e3)
}
