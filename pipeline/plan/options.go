package plan

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/stages"
)

// Options are what a plan is made against; all of it is only read.
type Options struct {
	Cache     *artifacts.Cache
	Catalog   *stages.Catalog
	Envs      Environments
	Files     Files
	Facts     map[string]string         // of the assigned executor
	Known     Known                     // of records; nil: each is looked up
	Force     func(address string) bool // steps that run even when cached; nil: none
	Previous  *artifacts.Build          // the recipe's last build, for reasons; nil: none
	LookupEnv func(name string) (string, bool)
	Reads     *reading.Log // what is read of programs is taken down there; nil: nowhere
}

// Known gives the record that Cache.Lookup would find for a key, and its digest, where that and the key's action have just been found
// in the cache; nil where they have to be looked up.
type Known func(artifacts.Key) (*artifacts.Record, artifacts.Digest)

// Environments describes an environment without installing it.
type Environments interface {
	Blob(ctx context.Context, name string) ([]byte, error)
}

// Files digests local files, which path() named.
type Files interface {
	Manifest(ctx context.Context, dir string, paths []string) (*artifacts.Manifest, error)
}

// Diagnostics is what the author of the recipe can mend, as an error.
type Diagnostics struct{ hcl.Diagnostics }

func (d Diagnostics) Error() string {
	var all []string
	for _, one := range d.Diagnostics {
		where := ""
		if one.Subject != nil {
			where = fmt.Sprintf("%s:%d: ", one.Subject.Filename, one.Subject.Start.Line)
		}
		all = append(all, where+one.Summary+": "+one.Detail)
	}
	return strings.Join(all, "\n")
}

func problem(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(format, args...),
		Subject:  &at,
	}
}
