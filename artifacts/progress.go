package artifacts

import "context"

// Progress is how far long work on an output is.
type Progress struct {
	What        string // "hashing", "storing"
	Done, Total int64
	Unit        string // "bytes" or "files"
}

type tellKey struct{}

// Telling gives a context in which a Store says now and then how far it is with what takes long, as httptrace lets a
// client say. tell is called by one goroutine at a time, and no more once the call has returned.
func Telling(ctx context.Context, tell func(Progress)) context.Context {
	return context.WithValue(ctx, tellKey{}, tell)
}

// Teller is what Telling was given, or nil.
func Teller(ctx context.Context) func(Progress) {
	tell, _ := ctx.Value(tellKey{}).(func(Progress))
	return tell
}
