package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// small is a job that any worker does in a moment.
func small(tb testing.TB) Job {
	j := Job{Op: EncodeJPEGLS, Rows: 16, Columns: 16, Samples: 1, BitsAllocated: 8, BitsStored: 8}
	j.Data = picture(j)
	return j
}

// endless is a job that takes long, in the eyes of a machine.
func endless() Job {
	j := Job{Op: EncodeJPEG2000, Rows: 900, Columns: 900, Samples: 1, BitsAllocated: 16, BitsStored: 16}
	j.Data = bytes.Repeat([]byte{0x12, 0x9a, 0x3f, 0x07, 0xc4, 0x5b, 0xe1}, (2*900*900+6)/7)[:2*900*900]
	return j
}

// patient leaves all jobs their time.
const patient = time.Hour

func TestNothingStartsBeforeWork(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(Options{})
	if n := runtime.NumGoroutine(); n != before {
		t.Errorf("%d goroutines more", n-before)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Do(t.Context(), small(t)); Available() && !fault.Is(err, fault.Unavailable) {
		t.Errorf("closed: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error("twice: ", err)
	}
}

func TestMissing(t *testing.T) {
	if Available() {
		t.Skip("the codecs are built in")
	}
	p := New(Options{})
	if _, err := p.Do(t.Context(), small(t)); !fault.Is(err, fault.NotAcceptable) || !strings.Contains(fault.Message(err), "without the codecs") {
		t.Error(err)
	}
	if err := p.Warm(t.Context()); !fault.Is(err, fault.NotAcceptable) {
		t.Error(err)
	}
}

func TestChecked(t *testing.T) {
	for name, break_ := range map[string]func(j *Job){
		"op":        func(j *Job) { j.Op = 0 },
		"op past":   func(j *Job) { j.Op = EncodeHTJ2K + 1 },
		"rows":      func(j *Job) { j.Rows = 0 },
		"columns":   func(j *Job) { j.Columns = 65536 },
		"samples":   func(j *Job) { j.Samples = 4 },
		"allocated": func(j *Job) { j.BitsAllocated = 32 },
		"stored":    func(j *Job) { j.BitsStored = 9 },
		"none":      func(j *Job) { j.BitsStored = 0 },
		"empty":     func(j *Job) { j.Data = nil },
		"short":     func(j *Job) { j.Data = j.Data[1:] },
		"huge":      func(j *Job) { j.Op, j.Rows, j.Columns = DecodeJPEG, 65535, 65535 },
		"output":    func(j *Job) { j.Op, j.MaxOutput = DecodeJPEG, 255 },
		"quality":   func(j *Job) { j.Quality = 101 },
		"order":     func(j *Job) { j.Progression = CPRL + 1 },
	} {
		j := small(t)
		break_(&j)
		err := j.check()
		if want := fault.NotAcceptable; !fault.Is(err, want) && !strings.HasPrefix(name, "op") || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	j := small(t)
	if err := j.check(); err != nil || j.MaxOutput <= int64(len(j.Data)) {
		t.Error(err, j.MaxOutput)
	}
}

// TestTooLong: a job past its time costs a worker, and the next has a new one.
func TestTooLong(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Timeout: 20 * time.Millisecond, PerSample: 1})
	j := endless()
	if _, err := p.Do(t.Context(), j); !fault.Is(err, fault.NotAcceptable) || !strings.Contains(fault.Message(err), "too long") {
		t.Fatal(err)
	}
	if len(rested(p)) != 0 {
		t.Error("the worker was kept")
	}
	p.o.Timeout = patient
	if _, err := p.Do(t.Context(), small(t)); err != nil {
		t.Error(err)
	}
}

// TestGivenUp: who cancels has an answer at once; the worker finishes what it is
// at, and does the next job.
func TestGivenUp(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Timeout: patient})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := rested(p)[0]
	ctx, cancel := context.WithCancel(t.Context())
	j := endless()
	answered := make(chan error)
	go func() {
		_, err := p.Do(ctx, j)
		answered <- err
	}()
	await(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.busy[w] })
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	clear(j.Data) // nobody reads it any more: the race detector knows
	if _, err := p.Do(ctx, small(t)); !errors.Is(err, context.Canceled) {
		t.Error("a canceled request was begun: ", err)
	}
	if _, err := p.Do(t.Context(), small(t)); err != nil {
		t.Error(err)
	}
	if len(rested(p)) != 1 || rested(p)[0] != w {
		t.Error("the worker was not kept")
	}
}

// await waits until a condition holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never came to pass")
}

// TestKilled: a worker that somebody ends in mid-job is not the image's fault.
func TestKilled(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Timeout: patient})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := rested(p)[0]
	answered := make(chan error)
	go func() {
		_, err := p.Do(t.Context(), endless())
		answered <- err
	}()
	await(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.busy[w] })
	w.kill()
	if err := <-answered; !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	// One that ends while it is idle costs the next job, and no more.
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	rested(p)[0].kill()
	rested(p)[0].wait()
	if _, err := p.Do(t.Context(), small(t)); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if _, err := p.Do(t.Context(), small(t)); err != nil {
		t.Error(err)
	}
}

// TestBusy: as many wait as are allowed, in the order of their coming.
func TestBusy(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Queue: 3, Timeout: patient})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	var order []int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 4 {
		j := small(t)
		if i == 0 {
			j = endless()
		}
		all.Go(func() {
			if _, err := p.Do(t.Context(), j); err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
		await(t, func() bool { return len(p.queue) == i+1 && len(p.slots) == 1 })
		time.Sleep(5 * time.Millisecond) // until it stands in the queue
	}
	if _, err := p.Do(t.Context(), small(t)); !fault.Is(err, fault.Busy) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.Do(ctx, small(t)); err == nil {
		t.Error("it was not busy")
	}
	all.Wait()
	if order[0] != 0 || len(order) != 4 {
		t.Error(order)
	}
}

// TestClosed: closing ends what runs and leaves no process and no goroutine.
func TestClosed(t *testing.T) {
	before := runtime.NumGoroutine()
	p := testPool(t, Options{Workers: 2, Timeout: patient})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := p.Do(t.Context(), endless()); !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
		})
	}
	await(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.busy) == 2 })
	p.mu.Lock()
	var workers []*process
	for w := range p.busy {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for _, w := range workers {
		if w.cmd.ProcessState == nil {
			t.Error("a worker is left")
		}
	}
	await(t, func() bool { return runtime.NumGoroutine() <= before })
}

func TestIdleOnesEnd(t *testing.T) {
	p := testPool(t, Options{Workers: 1, Idle: 20 * time.Millisecond})
	if err := p.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return len(rested(p)) == 0 })
	if _, err := p.Do(t.Context(), small(t)); err != nil {
		t.Error(err)
	}
}

// TestNested: a worker starts none.
func TestNested(t *testing.T) {
	t.Setenv(marker, "1")
	p := testPool(t, Options{Workers: 1})
	if _, err := p.Do(t.Context(), small(t)); !errors.Is(err, errNested) || !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

// TestNoWorker: what answers and is none.
func TestNoWorker(t *testing.T) {
	for _, program := range []string{"echo not a worker, and says more than a greeting is long", "exit 3", "head -c 100 /dev/zero"} {
		w := &process{cmd: exec.Command("/bin/sh", "-c", program), said: new(words), done: make(chan struct{})}
		var err error
		if w.in, err = w.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if w.out, err = w.cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		if err := w.cmd.Start(); err != nil {
			t.Skip(err)
		}
		if err := w.greet(""); err == nil {
			t.Errorf("%s: passed for a worker", program)
		}
		w.kill()
		w.wait()
	}
}

func TestWords(t *testing.T) {
	var w words
	for range 100 {
		if n, err := w.Write(bytes.Repeat([]byte("x"), 100)); n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(w.b) != mostWords || w.line() != "" {
		t.Errorf("%d bytes, %q", len(w.b), w.line())
	}
	w = words{}
	_, _ = w.Write([]byte("fatal error: runtime: out of memory\nMUELLER^HANS"))
	if w.line() != "fatal error: runtime: out of memory" {
		t.Error(w.line())
	}
	w = words{}
	_, _ = w.Write([]byte("MUELLER^HANS\nfatal error: x"))
	if w.line() != "" {
		t.Error(w.line())
	}
}

// TestOrphan: workers end when their parent is killed.
func TestOrphan(t *testing.T) {
	if os.Getenv("STRATA_TEST_ORPHAN") != "" {
		p := New(Options{Cache: testCache(t), Workers: 2, Timeout: patient})
		_ = p.Warm(t.Context())
		go func() { _, _ = p.Do(t.Context(), endless()) }()
		await(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.busy) == 1 })
		for w := range p.busy {
			_, _ = os.Stdout.WriteString("PID " + itoa(w.cmd.Process.Pid) + "\n")
		}
		select {}
	}
	if !Available() || runtime.GOOS != "linux" {
		t.Skip("the codecs are not built in, or this is not Linux")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestOrphan$")
	cmd.Env = append(os.Environ(), "STRATA_TEST_ORPHAN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := out.Read(b)
	if err != nil || !bytes.HasPrefix(b, []byte("PID ")) {
		t.Fatalf("%q, %v", b[:n], err)
	}
	pid := strings.TrimSpace(string(b[4:n]))
	if _, err := os.Stat("/proc/" + pid); err != nil {
		t.Fatal("no worker: ", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await(t, func() bool {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || bytes.Contains(state, []byte(") Z "))
	})
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}
