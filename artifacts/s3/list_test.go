package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func names(t *testing.T, c *Client, prefix, after string) []string {
	t.Helper()
	var all []string
	for o, err := range c.Walk(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Name)
	}
	return all
}

func TestListOrder(t *testing.T) {
	keys(t)
	listOrder(t, serve(t, newFake()))
}

// listOrder is what each server must do that is said to list in order.
func listOrder(t *testing.T, c *Client) {
	t.Helper()
	all := []string{"B/1", "a-b/1", "a.b/1", "a/1", "a/10", "a/2", "a0/1", "ab/c/d/e", "b/%41+ &?=", "b/ü"}
	for i := range all {
		name := all[(i*7+3)%len(all)]
		if _, err := c.Write(t.Context(), "l/"+name, artifacts.Text([]byte(name)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(t.Context(), "k/outside", artifacts.Text(nil), nil); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range all {
		want = append(want, "l/"+name)
	}
	if got := names(t, c, "l/", ""); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for i, after := range want {
		if got := names(t, c, "l/", after); !slices.Equal(got, want[i+1:]) {
			t.Errorf("after %s: got  %q\nwant %q", after, got, want[i+1:])
		}
	}
	if got := names(t, c, "l/a/1", ""); !slices.Equal(got, []string{"l/a/1", "l/a/10"}) {
		t.Errorf("names that begin with l/a/1: %q", got)
	}
	if got := names(t, c, "none/", ""); len(got) != 0 {
		t.Errorf("names below none: %q", got)
	}
	for o, err := range c.Walk(t.Context(), "l/", "") {
		_, said, asked := c.Read(t.Context(), o.Name, 0, 0)
		if err != nil || asked != nil || o.Size != said.Size || o.Version != said.Version || o.Modified.Unix() != said.Modified.Unix() || o.Now.IsZero() {
			t.Errorf("listed as %+v, asked for it is %+v (%v, %v)", o, said, err, asked)
		}
	}
}

// Listings go over pages, and on behind the last name where a page fails.
func TestListGoesOn(t *testing.T) {
	for name, c := range map[string]trouble{
		"503": answers(503, "SlowDown"), "reset": fails(errReset), "stall": silent, "cut": cuts(200, io.ErrUnexpectedEOF), "cut and silent": cuts(200, nil),
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.pageSize = 10
				var want []string
				for i := range 95 {
					want = append(want, fmt.Sprintf("d/%02d", i))
					f.put(want[i], "x")
				}
				client, w := over(t, f, func(n int, _ *http.Request) trouble {
					if n%2 == 1 {
						return c
					}
					return nil
				})
				client.wire.answered.Store(true)
				if got := names(t, client, "d/", ""); !slices.Equal(got, want) {
					t.Errorf("listed %d names: %v", len(got), got)
				}
				if n := len(w.sent); n != 20 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// A listing in no order cannot go on behind its last name; half of it must not be taken for all.
func TestListWithoutOrderIsNotGoneOnWith(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.foldered, f.pageSize = true, 2
		for _, name := range []string{"a/1", "a-b/1", "b/1", "c/1"} {
			f.put(name, "x")
		}
		c, _ := over(t, f, func(n int, _ *http.Request) trouble {
			if n == 2 {
				return fails(errReset)
			}
			return nil
		})
		var got []string
		var failed error
		for o, err := range c.Walk(t.Context(), "", "") {
			if err != nil {
				failed = err
				break
			}
			got = append(got, o.Name)
		}
		if !errors.Is(failed, artifacts.ErrUnreachable) || !slices.Equal(got, []string{"a/1", "a-b/1"}) {
			t.Errorf("got %q, %v", got, failed)
		}
	})
}

// minio-go ends a listing whose context has ended without a word.
func TestInterruptedListIsAnError(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.pageSize = 1
		for i := range 5 {
			f.put(fmt.Sprint(i), "x")
		}
		why := errors.New("enough")
		ctx, end := context.WithCancelCause(t.Context())
		defer end(nil)
		c, _ := over(t, f, nil)
		n := 0
		var last error
		for _, err := range c.Walk(ctx, "", "") {
			if last = err; err == nil {
				n++
				end(why)
			}
		}
		if n != 1 || !errors.Is(last, why) {
			t.Errorf("%d names, then %v", n, last)
		}
	})
}

func TestListThatIsRefused(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		c, w := over(t, newFake(), always(answers(403, "AccessDenied")))
		for _, err := range c.Walk(t.Context(), "", "") {
			if !errors.Is(err, artifacts.ErrRefused) || !strings.Contains(err.Error(), "s3:ListBucket") {
				t.Errorf("got %v", err)
			}
		}
		if len(w.sent) != 1 {
			t.Errorf("sent %v", w.sent)
		}
	})
}

// Folders that people made in a console are no names.
func TestListLeavesFoldersOut(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for _, name := range []string{"team/", "team/a", "team/b/", "team/b/c"} {
			f.put(name, "")
		}
		c, _ := over(t, f, nil)
		if got := names(t, c.Below("team"), "", ""); !slices.Equal(got, []string{"a", "b/c"}) {
			t.Errorf("got %q", got)
		}
		if len(names(t, c.Below("tea"), "", "")) != 0 {
			t.Error("a folder has names of another one that begins as it does")
		}
	})
}

// The reader of a listing may take its time.
func TestListIsNotEndedByItsReader(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.pageSize = 1
		f.put("a", "")
		f.put("b", "")
		c, w := over(t, f, nil)
		for _, err := range c.Walk(t.Context(), "", "") {
			if err != nil {
				t.Error(err)
			}
			<-time.After(time.Hour)
		}
		if len(w.sent) != 2 {
			t.Errorf("sent %v", w.sent)
		}
	})
}
