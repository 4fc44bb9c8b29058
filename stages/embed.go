package stages

import (
	"embed"
	"fmt"
	"io/fs"
)

// all: keeps names that begin with _ or a dot; without it __init__.py would be lost.
//
//go:embed all:*
var embedded embed.FS

// Builtin is the catalogue that the binary carries.
func Builtin() (*Catalog, error) { return BuiltinIn(nil) }

// BuiltinIn has only the kinds of some folders; nil: all kinds.
func BuiltinIn(folders []string) (*Catalog, error) {
	sdk, err := fs.Sub(embedded, "sdk")
	if err != nil {
		return nil, fmt.Errorf("opening the embedded SDK: %w", err)
	}
	c := &Catalog{SDK: sdk}
	if diags := c.add(embedded, "stages", folders); diags.HasErrors() {
		return nil, fmt.Errorf("reading the built-in kinds: %w", diags)
	}
	return c, nil
}

// Environments is the folder of environments that the binary carries, for env.NewSet.
func Environments() (fs.FS, error) {
	sub, err := fs.Sub(embedded, "env")
	if err != nil {
		return nil, fmt.Errorf("opening the embedded environments: %w", err)
	}
	return sub, nil
}
