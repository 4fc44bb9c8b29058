package shared_test

import (
	"fmt"
	"sync"
	"testing"
)

// What was found in the bucket need not be brought there, also where its bytes turn out to be gone before its turn has come.
func TestAHitThatIsForgottenIsNotBrought(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine(t), w.machine(t)
	lost := a.make("x", "a=1")
	a.mustShare(lost)
	if _, d, err := b.joined.Lookup(t.Context(), lost.key); err != nil || d != lost.record {
		t.Fatal(d, err)
	}
	var mine []result
	for i := range 9 { // more than are brought at once
		mine = append(mine, b.make(fmt.Sprint(i), fmt.Sprintf("a=%d", i)))
	}
	held := make(chan struct{})
	w.fail(func(op, _ string) error {
		if op == "write" {
			<-held
		}
		return nil
	})
	let := sync.OnceFunc(func() { close(held) })
	defer let()
	for _, one := range mine {
		b.remote.Share(one.record)
	}
	b.remote.Share(lost.record)
	b.remote.Forget(lost.key)
	let()
	if err := b.remote.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
