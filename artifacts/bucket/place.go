// Package bucket is the layout of a shared cache over any bucket: where blobs and pointers lie, what the bucket says of itself,
// and who is building what. It knows names and their order of writing. It must not know how objects travel, what a pack or a record
// holds, or that there is a local cache.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Place implements artifacts.Store, artifacts.Pointers and artifacts.Sweeper over a bucket. Whole objects that are read by digest
// are verified at their end.
type Place struct {
	objects artifacts.Objects
	format  Format
	alone   bool  // the only writer: pointers change without conditions, which this bucket ignores
	refusal error // why no pointer may change
}

// Objects is the bucket itself, for what lies in it by other names than those of blobs and pointers.
func (p *Place) Objects() artifacts.Objects { return p.objects }

// Format is what the bucket says of itself.
func (p *Place) Format() Format { return p.format }

// All gives every blob, in no order. What else lies among them is none.
func (p *Place) All(ctx context.Context) iter.Seq2[artifacts.Blob, error] {
	return func(yield func(artifacts.Blob, error) bool) {
		for o, err := range p.objects.Walk(ctx, artifacts.BlobsFolder, "") {
			if err != nil {
				yield(artifacts.Blob{}, fmt.Errorf("listing blobs of the shared cache: %w", err))
				return
			}
			d, err := artifacts.ParseHex(strings.TrimPrefix(o.Name, artifacts.BlobsFolder))
			if err == nil && !yield(artifacts.Blob{Digest: d, Size: o.Size}, nil) {
				return
			}
		}
	}
}

// Delete removes a pointer, or a blob by artifacts.BlobsFolder and its hex. What is not there is no error.
func (p *Place) Delete(ctx context.Context, name string) error {
	if err := checkDelete(name); err != nil {
		return err
	}
	if err := p.objects.Remove(ctx, name); err != nil {
		return fmt.Errorf("deleting %s from the shared cache: %w", name, err)
	}
	return nil
}

func checkDelete(name string) error {
	hex, isBlob := strings.CutPrefix(name, artifacts.BlobsFolder)
	if !isBlob {
		return artifacts.CheckName(name)
	}
	_, err := artifacts.ParseHex(hex)
	return err
}

// walk gives the names below prefix that come behind after, in bytewise order, also from a bucket that lists in another one.
func (p *Place) walk(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	if p.format.Listing == Ordered {
		return p.walkOrdered(ctx, prefix, after)
	}
	return func(yield func(string, error) bool) {
		var names []string
		for o, err := range p.objects.Walk(ctx, prefix, "") {
			if err != nil {
				yield("", err)
				return
			}
			if o.Name > after {
				names = append(names, o.Name)
			}
		}
		slices.Sort(names)
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
	}
}

var errOrder = errors.New("the bucket does not list in the order that it was found to: run `tinfra doctor`")

func (p *Place) walkOrdered(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := after
		for o, err := range p.objects.Walk(ctx, prefix, after) {
			if err == nil && o.Name <= last {
				err = errOrder // going on would leave out names, and so records
			}
			if last = o.Name; !yield(o.Name, err) || err != nil {
				return
			}
		}
	}
}
