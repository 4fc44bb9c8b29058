package s3test

import (
	"context"
	"sync"
	"testing"
)

// common are the servers that the tests of one binary share: to start one takes a second or so.
var common = struct {
	mu      sync.Mutex
	servers map[string]*Server
}{servers: make(map[string]*Server)}

// MinIO is the one MinIO of this test binary.
func MinIO(t testing.TB) *Server {
	t.Helper()
	return one(t, KindMinIO)
}

// Versity is the one versitygw of this test binary.
func Versity(t testing.TB) *Server {
	t.Helper()
	return one(t, KindVersity)
}

func one(t testing.TB, kind string) *Server {
	t.Helper()
	common.mu.Lock()
	defer common.mu.Unlock()
	if s := common.servers[kind]; s != nil {
		return s
	}
	s, err := start(context.WithoutCancel(t.Context()), kind, false)
	if err != nil {
		t.Fatal(err)
	}
	common.servers[kind] = s
	return s
}

// M runs the tests of a package, and then ends the servers that they shared. Without it they end with the process, a moment later.
type M struct{ tests *testing.M }

// Around is for TestMain: os.Exit(s3test.Around(m).Run()).
func Around(m *testing.M) *M { return &M{m} }

// Run gives the code to exit with.
func (m *M) Run() int {
	code := m.tests.Run()
	common.mu.Lock()
	defer common.mu.Unlock()
	for _, s := range common.servers {
		s.end()
	}
	clear(common.servers)
	return code
}
