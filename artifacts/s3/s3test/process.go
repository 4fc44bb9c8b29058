package s3test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// A shell stands between this process and a server: it kills the server as soon as its own input ends, which also happens where this
// process is killed. A line of input before the end says that the server's folder stays. The shell lets go of the output, so that its end
// is the server's.
const keeper = `dir=$1; shift
"$@" </dev/null &
server=$!
exec >/dev/null 2>&1
if read -r keep; then kill -9 "$server"; wait "$server"; else kill -9 "$server"; wait "$server"; rm -rf "$dir"; fi`

// process is a running server.
type process struct {
	hold   io.WriteCloser // the keeper's input
	output *tail
	over   chan struct{} // closed when the server has ended by itself or was killed
	ended  chan struct{} // closed when the keeper has ended too
}

// begin starts the command, which has the folder dir. It goes on until end, and no longer than this process.
func begin(ctx context.Context, dir string, env []string, command ...string) (*process, error) {
	c := exec.CommandContext(context.WithoutCancel(ctx), "sh", append([]string{"-c", keeper, "keeper", dir}, command...)...)
	c.Dir = dir
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, whose end the keeper sees
	hold, err := c.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	p := &process{hold: hold, output: &tail{}, over: make(chan struct{}), ended: make(chan struct{})}
	go func() { // ends with the keeper, for which end waits
		defer close(p.ended)
		_, _ = io.Copy(p.output, out) // how it ended is told by what it printed
		close(p.over)
		_ = c.Wait() // the keeper's exit says nothing
	}()
	return p, nil
}

// end kills the server as kill -9 does, and waits for it. Its folder goes too, unless it is to be kept.
func (p *process) end(keep bool) {
	if keep {
		_, _ = io.WriteString(p.hold, "keep\n") // the keeper has ended, where this fails
	}
	p.hold.Close()
	<-p.ended
}

// tail keeps the end of what a server prints.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-maxTail):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
