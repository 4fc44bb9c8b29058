package bucket

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	// FormatNumber is the newest layout of a bucket that this program knows.
	FormatNumber = 1
	// FormatName is the object in which a bucket says of itself what Format holds.
	FormatName = "format"
	maxFormat  = 64 << 10 // bytes
)

// How a bucket lists names.
const (
	Ordered   = "ordered"   // bytewise, as S3 promises
	Unordered = "unordered" // in some other order, as one-zone buckets and some file gateways do
)

var (
	// ErrNoFormat: nobody has begun a shared cache there, or not under this tier.
	ErrNoFormat = errors.New("there is no shared cache: `tinfra doctor` looks whether the bucket is fit for one, and begins it")
	// ErrForeign: there is something, and it is not a shared cache.
	ErrForeign = errors.New("the place of the shared cache holds something else")
	// ErrNewer: a newer tinfra has made it.
	ErrNewer = errors.New("the shared cache needs a newer tinfra")
	// ErrNoConditions: two writers would take each other's results for their own.
	ErrNoConditions = errors.New("the bucket ignores conditions (If-None-Match, If-Match) on writes, so that of two builds one would silently undo the other's work: " +
		"use another server, or --single-writer where only one machine ever writes")
)

// Conditions are the writes that the bucket was seen to refuse when it must.
type Conditions struct {
	Create    bool `json:"create"`    // If-None-Match: * creates once
	Multipart bool `json:"multipart"` // the same for an upload in parts; nothing depends on it
	Replace   bool `json:"replace"`   // If-Match replaces one version only
}

// Format is what a bucket says of itself: the number of its layout, and what it was probed to do.
type Format struct {
	Checked      time.Time  `json:"checked"` // when it was probed, to the second, by the clock of who did
	Conditions   Conditions `json:"conditions"`
	Number       int        `json:"format"`
	Listing      string     `json:"listing"`
	SingleWriter bool       `json:"single_writer,omitempty"` // it was begun by who vouched for being the only one
	Tinfra       string     `json:"tinfra"`                  // the version that probed it
}

// sound is whether many may write.
func (f Format) sound() bool { return f.Conditions.Create && f.Conditions.Replace }

func (f Format) encode() ([]byte, error) {
	f.Checked = f.Checked.UTC().Truncate(time.Second)
	b, err := artifacts.JCS(f)
	if err != nil {
		return nil, fmt.Errorf("the format of the shared cache: %w", err)
	}
	return append(b, '\n'), nil
}

// decodeFormat reads the number first: a newer layout may say the rest in another way. Members that this program does not know
// are a later program's, and of no weight.
func decodeFormat(b []byte) (Format, error) {
	var number struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &number); err != nil || number.Format < 1 {
		return Format{}, fmt.Errorf("%w: its object `format` is not one of tinfra's", ErrForeign)
	}
	if number.Format > FormatNumber {
		return Format{}, fmt.Errorf("%w: it has format %d, and this tinfra knows formats up to %d", ErrNewer, number.Format, FormatNumber)
	}
	var f Format
	if err := json.Unmarshal(b, &f); err != nil {
		return Format{}, fmt.Errorf("%w: its object `format` cannot be read (%w): `tinfra doctor` makes it anew once that object is deleted", ErrForeign, err)
	}
	return f, nil
}

// layout are the names of a tier: today's, and those that later versions have reserved.
var layout = append(slices.Clone(pointerFolders),
	"blobs/", "packs/", "maps/", "indexes/", "signatures/", "revoked/", "condemned/", "gc/", "checkpoints/")

// foreign tells the name of an object that is not of a shared cache. A probe that runs beside is none.
func foreign(name string) bool {
	if name == FormatName || strings.HasPrefix(name, "probe-") {
		return false
	}
	return !slices.ContainsFunc(layout, func(folder string) bool { return strings.HasPrefix(name, folder) })
}
