package s3

import (
	"errors"
	"io"
	"sync"
	"time"
)

// errStalled ends a try of which nothing was heard.
var errStalled = errors.New("stalled")

// trickle is how many bytes are progress: a connection that needs longer for them than the stall allows is as good as none.
const trickle = 4 << 10

// watchdog ends a try in which nothing moves for a while. It counts the time between wake and rest only: at rest nothing is expected of the
// server, since the caller is doing something else with what it has got so far.
type watchdog struct {
	after time.Duration

	mu    sync.Mutex
	timer *time.Timer
	awake bool
	woken time.Time
	left  time.Duration // until the end, were it awake
	moved int           // bytes since left was whole
}

func (d *watchdog) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awake, d.woken = true, time.Now()
	d.timer.Reset(d.left)
}

func (d *watchdog) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.awake {
		d.left -= time.Since(d.woken)
	}
	d.awake = false
	d.timer.Stop()
}

// fed says that n bytes have moved.
func (d *watchdog) fed(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved += n; d.moved < trickle {
		return
	}
	d.moved, d.left = 0, d.after
	if d.awake { // the network may go on reading a request's body after its answer has come
		d.woken = time.Now()
		d.timer.Reset(d.left)
	}
}

// watched is an answer's body, each read of which must move.
type watched struct {
	io.ReadCloser
	dog *watchdog
}

func (w *watched) Read(p []byte) (int, error) {
	w.dog.wake()
	defer w.dog.rest()
	n, err := w.ReadCloser.Read(p)
	w.dog.fed(n)
	return n, err
}
