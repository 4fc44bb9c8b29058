package run

import "testing"

// There is room for so much, and what is published makes room for others.
func TestRoom(t *testing.T) {
	var r room
	held := &made{}
	for r.take(smallOutput) {
		held.bytes += smallOutput
	}
	if held.bytes != maxRoom {
		t.Errorf("room for %d bytes, want %d", held.bytes, maxRoom)
	}
	r.free(held)
	if !r.take(maxRoom) || r.take(1) {
		t.Error("what was freed is not free")
	}
}
