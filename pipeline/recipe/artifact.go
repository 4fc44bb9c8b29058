package recipe

import (
	"fmt"
	"reflect"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// artifact is what an expression can hold for an input port: a reference to a port, or what path() matched. One type
// for both, so that a conditional may choose between them.
type artifact struct {
	ref   *Ref
	files *Files
}

func (a *artifact) String() string {
	if a.files != nil {
		return fmt.Sprintf("path(%q)", a.files.Pattern)
	}
	return a.ref.Address + "." + a.ref.Port
}

// artifactType compares by what it refers to: the same port reached in two ways is one element of a set, and one pattern
// in the folders of two modules is two.
var artifactType = capsule("artifact", func(a *artifact) string {
	if a.files != nil {
		return a.files.Dir + "\x00" + a.files.Pattern
	}
	return a.String()
})

// secretType is the type of secret("NAME"); nothing converts to or from it.
var secretType = capsule("secret", func(s *SecretRef) string { return s.Variable })

func capsule[T any](name string, identity func(*T) string) cty.Type {
	return cty.CapsuleWithOps(name, reflect.TypeFor[T](), &cty.CapsuleOps{
		GoString:     func(v any) string { return identity(v.(*T)) },
		TypeGoString: func(reflect.Type) string { return name },
		RawEquals:    func(a, b any) bool { return identity(a.(*T)) == identity(b.(*T)) },
		HashKey:      func(v any) string { return identity(v.(*T)) },
	})
}

func refValue(r Ref) cty.Value { return cty.CapsuleVal(artifactType, &artifact{ref: &r}) }

var secretFunc = function.New(&function.Spec{
	Params: text("name"),
	Type:   function.StaticReturnType(secretType),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		name := args[0].AsString()
		if !isEnvName(name) {
			return cty.NilVal, function.NewArgErrorf(0, "it must be the name of an environment variable, like HF_TOKEN")
		}
		return cty.CapsuleVal(secretType, &SecretRef{Variable: name}), nil
	},
})

func isEnvName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// holds finds a capsule of one type anywhere in a value.
func holds(v cty.Value, t cty.Type) bool {
	found := false
	v, _ = v.UnmarkDeep()
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		found = found || v.Type() == t
		return !found, nil
	})
	return found
}
