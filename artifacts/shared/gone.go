package shared

import (
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Gone says that bytes which a record stands for are not in the shared cache any more, or are damaged there. Whoever wants them tells
// Forget, and runs again what makes them.
type Gone struct {
	Key      artifacts.Key    // of the record that promised them; zero where no record was found that did
	Manifest artifacts.Digest // of the output
	Err      error            // is ErrMissing or ErrDamaged
}

func (g *Gone) Error() string {
	return fmt.Sprintf("the files of %s are not in the shared cache as they were: %v", g.Manifest.Short(), g.Err)
}

func (g *Gone) Unwrap() error { return g.Err }

// GoneKey is the key whose stage makes the bytes again.
func (g *Gone) GoneKey() artifacts.Key { return g.Key }
