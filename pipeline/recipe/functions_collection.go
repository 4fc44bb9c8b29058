package recipe

import (
	"errors"
	"sort"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

func anything(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.DynamicPseudoType}
}

func isSequence(t cty.Type) bool { return t.IsListType() || t.IsTupleType() || t.IsSetType() }

// lengthFunc counts characters of a string too.
var lengthFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true}},
	Type: func(args []cty.Value) (cty.Type, error) {
		t := args[0].Type()
		if t == cty.String || t == cty.DynamicPseudoType || t.IsCollectionType() || t.IsTupleType() || t.IsObjectType() {
			return cty.Number, nil
		}
		return cty.NilType, function.NewArgErrorf(0, "it must be a string, a list, a set, a map or an object, not %s", t.FriendlyName())
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if args[0].Type() == cty.String {
			return stdlib.Strlen(args[0])
		}
		if args[0].Type().IsSetType() {
			return args[0].Length(), nil
		}
		return cty.NumberIntVal(int64(args[0].LengthInt())), nil
	},
})

// coalesceFunc passes over nulls and empty strings.
var coalesceFunc = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "vals", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true},
	Type: func(args []cty.Value) (cty.Type, error) {
		types := make([]cty.Type, len(args))
		for i, a := range args {
			types[i] = a.Type()
		}
		t, _ := convert.UnifyUnsafe(types)
		if t == cty.NilType {
			return cty.NilType, errors.New("all arguments must be of one type")
		}
		return t, nil
	},
	Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
		for _, a := range args {
			v, err := convert.Convert(a, want)
			if err != nil {
				return cty.NilVal, err
			}
			if !v.IsKnown() {
				return cty.UnknownVal(want), nil
			}
			if v.IsNull() || want == cty.String && v.AsString() == "" {
				continue
			}
			return v, nil
		}
		return cty.NilVal, errors.New("every argument is null or an empty string")
	},
})

// indexFunc finds the position of a value in a list.
var indexFunc = function.New(&function.Spec{
	Params: []function.Parameter{anything("list"), anything("value")},
	Type: func(args []cty.Value) (cty.Type, error) {
		if t := args[0].Type(); !t.IsListType() && !t.IsTupleType() {
			return cty.NilType, function.NewArgErrorf(0, "it must be a list, not %s", t.FriendlyName())
		}
		return cty.Number, nil
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		for i, v := range args[0].AsValueSlice() {
			eq, err := stdlib.Equal(v, args[1])
			if err != nil {
				return cty.NilVal, err
			}
			if !eq.IsKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			if eq.True() {
				return cty.NumberIntVal(int64(i)), nil
			}
		}
		return cty.NilVal, errors.New("the list does not hold the value")
	},
})

// lookupFunc takes the default as an optional third argument.
var lookupFunc = function.New(&function.Spec{
	Params:   []function.Parameter{anything("map"), {Name: "key", Type: cty.String}},
	VarParam: &function.Parameter{Name: "default", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true},
	Type: func(args []cty.Value) (cty.Type, error) {
		if len(args) > 3 {
			return cty.NilType, errors.New("it takes a map, a key and at most one default")
		}
		t := args[0].Type()
		switch {
		case t.IsMapType():
			return t.ElementType(), nil
		case t.IsObjectType():
			if !args[1].IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			if key := args[1].AsString(); t.HasAttribute(key) {
				return t.AttributeType(key), nil
			}
			if len(args) == 3 {
				return args[2].Type(), nil
			}
			return cty.NilType, function.NewArgErrorf(1, "there is no such key, and no default is given")
		}
		return cty.NilType, function.NewArgErrorf(0, "it must be a map or an object, not %s", t.FriendlyName())
	},
	Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
		key := args[1].AsString()
		if t := args[0].Type(); t.IsObjectType() && t.HasAttribute(key) {
			return args[0].GetAttr(key), nil
		} else if t.IsMapType() && args[0].HasIndex(args[1]).True() {
			return args[0].Index(args[1]), nil
		}
		if len(args) < 3 {
			return cty.NilVal, function.NewArgErrorf(1, "there is no key %q, and no default is given", key)
		}
		return convert.Convert(args[2], want)
	},
})

// matchKeysFunc picks the values whose key at the same position is among those searched.
var matchKeysFunc = function.New(&function.Spec{
	Params: []function.Parameter{
		{Name: "values", Type: cty.List(cty.DynamicPseudoType)},
		{Name: "keys", Type: cty.List(cty.DynamicPseudoType)},
		{Name: "searched", Type: cty.List(cty.DynamicPseudoType)},
	},
	Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
		values, keys := args[0].AsValueSlice(), args[1].AsValueSlice()
		if len(values) != len(keys) {
			return cty.NilVal, errors.New("values and keys must be of one length")
		}
		var picked []cty.Value
		for i, k := range keys {
			found, err := stdlib.Contains(args[2], k)
			if err != nil {
				return cty.NilVal, err
			}
			if !found.IsKnown() {
				return cty.UnknownVal(want), nil
			}
			if found.True() {
				picked = append(picked, values[i])
			}
		}
		if len(picked) == 0 {
			return cty.ListValEmpty(want.ElementType()), nil
		}
		return cty.ListVal(picked), nil
	},
})

// oneFunc turns a sequence of none or one into null or the element.
var oneFunc = function.New(&function.Spec{
	Params: []function.Parameter{anything("list")},
	Type: func(args []cty.Value) (cty.Type, error) {
		t := args[0].Type()
		switch {
		case t.IsListType(), t.IsSetType():
			return t.ElementType(), nil
		case t.IsTupleType() && t.Length() == 0:
			return cty.DynamicPseudoType, nil
		case t.IsTupleType() && t.Length() == 1:
			return t.TupleElementType(0), nil
		case t.IsTupleType():
			return cty.NilType, function.NewArgErrorf(0, "it has %d elements; none or one is allowed", t.Length())
		}
		return cty.NilType, function.NewArgErrorf(0, "it must be a list or a set, not %s", t.FriendlyName())
	},
	Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
		switch all := args[0].AsValueSlice(); len(all) {
		case 0:
			return cty.NullVal(want), nil
		case 1:
			return all[0], nil
		default:
			return cty.NilVal, function.NewArgErrorf(0, "it has %d elements; none or one is allowed", len(all))
		}
	},
})

// sumFunc adds numbers up; an empty list has no sum, as in Terraform.
var sumFunc = function.New(&function.Spec{
	Params: []function.Parameter{anything("list")},
	Type: func(args []cty.Value) (cty.Type, error) {
		if t := args[0].Type(); !isSequence(t) {
			return cty.NilType, function.NewArgErrorf(0, "it must be a list or a set of numbers, not %s", t.FriendlyName())
		}
		return cty.Number, nil
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if !args[0].IsWhollyKnown() {
			return cty.UnknownVal(cty.Number), nil
		}
		all := args[0].AsValueSlice()
		if len(all) == 0 {
			return cty.NilVal, function.NewArgErrorf(0, "an empty list has no sum")
		}
		total := cty.Zero
		for _, v := range all {
			n, err := convert.Convert(v, cty.Number)
			if err != nil || n.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "every element must be a number")
			}
			if total, err = stdlib.Add(total, n); err != nil {
				return cty.NilVal, err
			}
		}
		return total, nil
	},
})

// transposeFunc turns a map of lists of strings inside out.
var transposeFunc = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "values", Type: cty.Map(cty.List(cty.String))}},
	Type:   function.StaticReturnType(cty.Map(cty.List(cty.String))),
	Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
		if !args[0].IsWhollyKnown() {
			return cty.UnknownVal(want), nil
		}
		turned := map[string][]string{}
		for key, list := range args[0].AsValueMap() {
			if list.IsNull() {
				return cty.NilVal, function.NewArgErrorf(0, "the list of %q is null", key)
			}
			for _, v := range list.AsValueSlice() {
				if v.IsNull() {
					return cty.NilVal, function.NewArgErrorf(0, "the list of %q holds a null", key)
				}
				turned[v.AsString()] = append(turned[v.AsString()], key)
			}
		}
		if len(turned) == 0 {
			return cty.MapValEmpty(cty.List(cty.String)), nil
		}
		out := map[string]cty.Value{}
		for key, names := range turned {
			sort.Strings(names)
			list := make([]cty.Value, len(names))
			for i, n := range names {
				list[i] = cty.StringVal(n)
			}
			out[key] = cty.ListVal(list)
		}
		return cty.MapVal(out), nil
	},
})

var (
	allTrueFunc = fold(true, func(acc, v bool) bool { return acc && v })
	anyTrueFunc = fold(false, func(acc, v bool) bool { return acc || v })
)

func fold(empty bool, join func(acc, v bool) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			acc, unknown := empty, false
			for _, v := range args[0].AsValueSlice() {
				if !v.IsKnown() {
					unknown = true
					continue
				}
				acc = join(acc, !v.IsNull() && v.True())
			}
			if unknown && acc == empty { // an unknown could still turn it
				return cty.UnknownVal(cty.Bool), nil
			}
			return cty.BoolVal(acc), nil
		},
	})
}
