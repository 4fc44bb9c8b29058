package lineage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrUnknown: the index has nothing of that name.
var ErrUnknown = errors.New("not in the lineage index")

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnknown, fmt.Sprintf(format, args...))
}

// Found is what digests with one beginning name.
type Found struct {
	Artifacts, Records, Keys []artifacts.Digest
}

// Len is how many things were found.
func (f *Found) Len() int { return len(f.Artifacts) + len(f.Records) + len(f.Keys) }

// maxFound bounds what a beginning is looked up for: two are as ambiguous as many.
const maxFound = 10

// Find completes the beginning of a digest.
func (x *Index) Find(ctx context.Context, beginning string) (*Found, error) {
	from := digestPrefix + strings.TrimPrefix(beginning, digestPrefix)
	f := &Found{}
	for _, where := range []struct {
		into          *[]artifacts.Digest
		table, column string
	}{{&f.Artifacts, "_artifact", "digest"}, {&f.Records, "_run", "record"}, {&f.Keys, "_action", "key"}} {
		err := x.ask(ctx, func(row scanner) error {
			var text string
			if err := row.Scan(&text); err != nil {
				return err
			}
			d, err := artifacts.ParseDigest(text)
			*where.into = append(*where.into, d)
			return err
		}, fmt.Sprintf(`SELECT %[1]s FROM %[2]s WHERE %[1]s >= ? AND %[1]s < ? LIMIT ?`, where.column, where.table), from, from+"g", maxFound)
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// FindBuild completes the beginning of a build's ID.
func (x *Index) FindBuild(ctx context.Context, beginning string) (string, error) {
	ids, err := x.texts(ctx, `SELECT build FROM _build WHERE build >= ? AND build < ? ORDER BY build LIMIT 2`, beginning, beginning+"~")
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0 || beginning == "":
		return "", unknown("no such build: none begins with %q", beginning)
	case len(ids) > 1 && ids[0] != beginning:
		return "", unknown("%q is the beginning of several builds; say more of it", beginning)
	}
	return ids[0], nil
}

func (x *Index) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	var out []string
	err := x.ask(ctx, func(row scanner) error {
		var text string
		err := row.Scan(&text)
		out = append(out, text)
		return err
	}, query, args...)
	return out, err
}

// LastBuild is the ID of the last build that has a stage of this address, or one that belongs to it: of one recipe, where
// a path is given. An address of "" is any.
func (x *Index) LastBuild(ctx context.Context, address, recipePath string) (string, error) {
	// A build of the future is that of a clock which has been set back since.
	now := time.Now().UTC().Add(time.Second).Format("20060102T150405Z")
	query, args := `SELECT b.build FROM _build b WHERE 1`, []any{}
	if recipePath != "" {
		query, args = query+` AND b.recipe_path = ?`, append(args, recipePath)
	}
	if address != "" {
		last, err := x.lastOf(ctx, address, recipePath)
		if err != nil || last <= now && last != "" {
			return last, err
		}
		covered, with := covers("s.address", address)
		query, args = query+` AND EXISTS (SELECT 1 FROM `+stepsOfList+` AND `+covered+`)`, append(args, with...)
	}
	for _, when := range []string{`<=`, `>`} {
		ids, err := x.texts(ctx, query+` AND b.build `+when+` ? ORDER BY b.build DESC LIMIT 1`, append(slices.Clone(args), now)...)
		if err != nil || len(ids) > 0 {
			return strings.Join(ids, ""), err
		}
	}
	return "", unknown("no build has %s", address)
}

const stepsOfList = `_list l CROSS JOIN json_each(l.steps) e CROSS JOIN _step s ON s.id = e.value WHERE l.id = b.list`

// lastOf is the last build of all that have a stage of an address, whatever the clock says.
func (x *Index) lastOf(ctx context.Context, address, recipePath string) (string, error) {
	covered, args := covers("address", address)
	query := `SELECT last FROM _step WHERE ` + covered
	if recipePath != "" {
		query, args = query+` AND recipe_path = ?`, append(args, recipePath)
	}
	ids, err := x.texts(ctx, query+` ORDER BY last DESC LIMIT 1`, args...)
	if err == nil && len(ids) == 0 {
		err = unknown("no build has %s", address)
	}
	return strings.Join(ids, ""), err
}

// covers is true for an address and whatever belongs to it: the instances of a block, the stages of a module. The range
// lets SQLite use an index: the backslash comes next after the bracket.
func covers(column, address string) (string, []any) {
	query := fmt.Sprintf(`(%[1]s >= ? AND %[1]s < ? || '\' AND (%[1]s = ? OR substr(%[1]s, 1, length(?) + 1) IN (? || '[', ? || '.')))`, column)
	return query, []any{address, address, address, address, address, address}
}

// Names are what metrics, params, facts, observed or labels are called in any run.
func (x *Index) Names(ctx context.Context, space string) ([]string, error) {
	return x.texts(ctx, `SELECT name FROM _name WHERE space = ? ORDER BY name`, space)
}

// Recipes are the paths of the recipes that were built.
func (x *Index) Recipes(ctx context.Context) ([]string, error) {
	return x.texts(ctx, `SELECT DISTINCT recipe_path FROM _build ORDER BY recipe_path`)
}
