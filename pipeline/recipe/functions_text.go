package recipe

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

func text(names ...string) []function.Parameter {
	var ps []function.Parameter
	for _, n := range names {
		ps = append(ps, function.Parameter{Name: n, Type: cty.String})
	}
	return ps
}

func predicate(second string, f func(a, b string) bool) function.Function {
	return function.New(&function.Spec{
		Params: text("str", second),
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

func encoding(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: text("str"),
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			return cty.StringVal(s), err
		},
	})
}

var (
	startsWithFunc  = predicate("prefix", strings.HasPrefix)
	endsWithFunc    = predicate("suffix", strings.HasSuffix)
	strContainsFunc = predicate("substr", strings.Contains)

	base64EncodeFunc = encoding(func(s string) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(s)), nil
	})
	base64DecodeFunc = encoding(func(s string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return "", function.NewArgErrorf(0, "this is not base64: %s", err)
		}
		if !utf8.Valid(b) {
			return "", function.NewArgErrorf(0, "what is encoded is not UTF-8 text")
		}
		return string(b), nil
	})
	sha256Func = encoding(func(s string) (string, error) {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:]), nil
	})
	urlEncodeFunc = encoding(func(s string) (string, error) {
		return url.QueryEscape(s), nil
	})
)

// replaceFunc takes /regex/ between slashes, else plain text.
var replaceFunc = function.New(&function.Spec{
	Params: text("str", "substr", "replace"),
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		str, sub, with := args[0].AsString(), args[1].AsString(), args[2].AsString()
		if len(sub) > 1 && sub[0] == '/' && sub[len(sub)-1] == '/' {
			re, err := regexp.Compile(sub[1 : len(sub)-1])
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(1, "%s", err)
			}
			return cty.StringVal(re.ReplaceAllString(str, with)), nil
		}
		return cty.StringVal(strings.ReplaceAll(str, sub, with)), nil
	},
})

// textual keeps ports and secrets out of functions that would print the insides of any value.
func textual(f function.Function) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			for i, a := range args {
				switch {
				case holds(a, secretType):
					return cty.NilType, function.NewArgErrorf(i, "a secret has no text")
				case holds(a, artifactType):
					return cty.NilType, function.NewArgErrorf(i, "an artifact has no text: it is given to an input")
				}
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// maxWidth is how many characters one number in a call may ask for.
const maxWidth = 10_000

var formatWidth = regexp.MustCompile(`%[-+ #0]*(?:\[[0-9]*\])?0*([0-9]*)(?:\.0*([0-9]*))?`)

// narrow refuses widths and precisions that would take gigabytes.
func narrow(f function.Function) function.Function {
	return guarded(f, func(args []cty.Value) error {
		for _, verb := range formatWidth.FindAllStringSubmatch(args[0].AsString(), -1) {
			if wide(verb[1]) || wide(verb[2]) {
				return function.NewArgErrorf(0, "%s is wider than %d characters", verb[0], maxWidth)
			}
		}
		return nil
	})
}

func wide(digits string) bool {
	n, err := strconv.Atoi(digits)
	return digits != "" && (err != nil || n > maxWidth)
}

var indentFunc = guarded(stdlib.IndentFunc, func(args []cty.Value) error {
	if args[0].AsBigFloat().Cmp(big.NewFloat(maxWidth)) > 0 {
		return function.NewArgErrorf(0, "it is more than %d characters", maxWidth)
	}
	return nil
})

// guarded is f, which is not called with what check refuses.
func guarded(f function.Function, check func(args []cty.Value) error) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type:     func(args []cty.Value) (cty.Type, error) { return f.ReturnTypeForValues(args) },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if err := check(args); err != nil {
				return cty.NilVal, err
			}
			return f.Call(args)
		},
	})
}
