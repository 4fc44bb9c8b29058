package local

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// BenchmarkJob is what a job costs in all processes beside what its program does, which here is nothing. "bare" is the
// start of that program by this process alone.
func BenchmarkJob(b *testing.B) {
	b.Run("supervised", func(b *testing.B) {
		x := New(Options{})
		defer x.Close()
		dir := b.TempDir()
		before := processor(b)
		n := 0
		for b.Loop() {
			ws := dir + "/" + strconv.Itoa(n)
			n++
			if err := os.Mkdir(ws, 0o700); err != nil {
				b.Fatal(err)
			}
			h, err := x.Start(context.Background(), run.Job{Workspace: ws, Argv: []string{"/bin/true"}, Env: os.Environ()})
			if err != nil {
				b.Fatal(err)
			}
			if e, err := x.Wait(context.Background(), h); err != nil || e.Code != 0 {
				b.Fatal(e, err)
			}
			if err := os.RemoveAll(ws); err != nil {
				b.Fatal(err)
			}
		}
		x.Close() // and so its supervisors are waited for
		b.ReportMetric(float64((processor(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	})
	b.Run("bare", func(b *testing.B) {
		before := processor(b)
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((processor(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	})
}

// processor is the CPU time of this process and of those that it has waited for.
func processor(b *testing.B) time.Duration {
	var all time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		all += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return all
}
