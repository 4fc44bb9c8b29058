package disk

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// tellEvery is how often a meter says how far the work is.
const tellEvery = 100 * time.Millisecond

// meter adds up what is done. A nil one counts nothing.
type meter struct {
	tell func(artifacts.Progress)

	mu   sync.Mutex
	at   artifacts.Progress
	last time.Time
}

// meterOf counts work on files: by their bytes where these take the time, else the files.
func meterOf(ctx context.Context, what string, files, bytes int64) *meter {
	const heavy = 64 << 10 // bytes of a file on average: below, opening and naming it takes longer than reading it
	tell := artifacts.Teller(ctx)
	if tell == nil {
		return nil
	}
	at := artifacts.Progress{What: what, Total: files, Unit: "files"}
	if bytes >= files*heavy {
		at.Total, at.Unit = bytes, "bytes"
	}
	return &meter{tell: tell, at: at}
}

func (m *meter) add(n int64, unit string) {
	if m == nil || unit != m.at.Unit {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at.Done += n
	if now := time.Now(); now.Sub(m.last) >= tellEvery || m.at.Done == m.at.Total {
		m.last = now
		m.tell(m.at)
	}
}

// reader counts what is read of a file.
func (m *meter) reader(r io.Reader) io.Reader {
	if m == nil || m.at.Unit != "bytes" {
		return r
	}
	return metered{r, m}
}

type metered struct {
	io.Reader
	m *meter
}

func (r metered) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.m.add(int64(n), "bytes")
	return n, err
}
