package local

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// bootID is another one each time that the machine is started; "" where nobody says.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// worthFlushing is how long a job must have taken for its result to be kept from a loss of power before anyone has collected it: to
// make the others again costs less than to wait for the disk each time.
const worthFlushing = 10 * time.Second

// flush puts a workspace on stable storage, with all else of its file system.
func flush(workspace string) bool {
	d, err := os.Open(workspace)
	if err != nil {
		return false
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd())) == nil
}

// believable is not how a job ended before the machine was started anew, unless it was flushed: the file that says so may have reached the
// disk before what the worker wrote, of which half would be taken for the whole.
func believable(h run.Handle, e run.Exit) error {
	if e.Durable || h.Boot == "" || h.Boot == bootID() {
		return nil
	}
	return errUncollected
}

// uncollected is an ErrLost that says why.
type uncollected string

func (u uncollected) Error() string        { return string(u) }
func (u uncollected) Is(target error) bool { return target == run.ErrLost }

const errUncollected uncollected = "the machine was started anew before the worker's result was collected, and what it wrote may not be whole"
