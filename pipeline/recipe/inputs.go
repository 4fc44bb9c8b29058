package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

// filesType is the port type of what path() gives.
const filesType = "files"

func (l *loader) input(s *Stage, c *compiled, in *stages.Input, values map[string]cty.Value, ranges map[string]*hcl.Range, complete bool) {
	v, at := values[in.Name], ranges[in.Name]
	if v != cty.NilVal {
		// Marks inside an object of ports are of its metrics, which are not what lands here.
		plain, marks := v.Unmark()
		if _, isBroken := marks[brokenMark{}]; isBroken {
			return
		}
		if !plain.IsKnown() {
			l.land(c, in.Name, v, at)
			return
		}
		v = plain
	}
	if v == cty.NilVal || v.IsNull() {
		if !in.Optional && complete {
			l.tell(c, in.Name, c.header(), "Missing input", "%s needs %s, %s.%s", c.used, in.Name, typesOf(in), docOf(in.Doc))
		}
		return
	}
	if !in.Map {
		if got, ok := l.artifact(s, c, in, in.Name, v, at); ok {
			s.Inputs[in.Name] = got
		}
		return
	}
	t := v.Type()
	if !t.IsMapType() && !t.IsObjectType() {
		l.tell(c, in.Name, at, "Wrong type", "%s takes a map of artifacts: { a = …, b = … }.", in.Name)
		return
	}
	for it := v.ElementIterator(); it.Next(); {
		k, element := it.Element()
		key := k.AsString()
		if !isMapKey(key) {
			l.tell(c, in.Name, at, "Not a file name", "%q names a folder in the worker's workspace: use letters, digits, '.', '_' and '-', and no '.' first.", key)
			return
		}
		if got, ok := l.artifact(s, c, in, fmt.Sprintf("%s[%q]", in.Name, key), element, at); ok {
			s.Inputs[in.Name+"["+key+"]"] = got
		}
	}
	if v.LengthInt() == 0 && !in.Optional && complete {
		l.tell(c, in.Name, at, "Missing input", "%s is empty; %s needs one artifact at least.", in.Name, c.used)
	}
}

// isMapKey says whether a key can be a folder's name on any system, in/<port>/<key>.
func isMapKey(key string) bool {
	if key == "" || len(key) > 128 || key[0] == '.' {
		return false
	}
	for _, r := range key {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			return false
		}
	}
	return true
}

// artifact checks what is given to one port.
func (l *loader) artifact(s *Stage, c *compiled, in *stages.Input, name string, v cty.Value, at *hcl.Range) (Input, bool) {
	v, marks := v.Unmark()
	if _, isBroken := marks[brokenMark{}]; isBroken {
		return Input{}, false
	}
	if !v.IsKnown() {
		l.land(c, in.Name, v.WithMarks(marks), at)
		return Input{}, false
	}
	if v.IsNull() || v.Type() != artifactType {
		l.tell(c, in.Name, at, "Not an artifact", "%s takes %s.%s", name, typesOf(in), l.portHint(in, v))
		return Input{}, false
	}
	a := v.EncapsulatedValue().(*artifact)
	given := filesType
	if a.ref != nil {
		given = a.ref.Type
		if a.ref.Address == s.Address {
			l.tell(c, in.Name, at, "Refers to itself", "%s cannot take its own output.", s.Address)
			return Input{}, false
		}
	}
	if !slices.Contains(in.Types, "*") && !slices.Contains(in.Types, given) {
		l.tell(c, in.Name, at, "Wrong port type", "%s takes %s, and %s is %s.%s", name, typesOf(in), l.local(a.String()), given, l.sibling(in, a))
		return Input{}, false
	}
	return Input{Ref: a.ref, Files: a.files, Range: *at}, true
}

// portHint looks into a stage's value that was given in place of one of its ports.
func (l *loader) portHint(in *stages.Input, v cty.Value) string {
	if v.IsNull() || !v.Type().IsObjectType() {
		return " Give it a port, as in download.base.model, or path(\"…\")."
	}
	for name, element := range v.AsValueMap() {
		if element, _ = element.Unmark(); element.Type() != artifactType || element.IsNull() || !element.IsKnown() {
			continue
		}
		a := element.EncapsulatedValue().(*artifact)
		if a.ref == nil || a.ref.Port != name {
			break
		}
		kind := l.kinds[a.ref.Address]
		if kind == nil {
			break
		}
		for _, o := range kind.Outputs {
			if slices.Contains(in.Types, o.Type) {
				return fmt.Sprintf(" This is a stage: say which port, %s.%s.", l.local(a.ref.Address), o.Name)
			}
		}
		return " This is a stage: say which port." + listOf(outputNames(kind))
	}
	return " Give it one port, not an object."
}

// sibling names another port of the same stage that would fit.
func (l *loader) sibling(in *stages.Input, a *artifact) string {
	if a.ref == nil {
		return ""
	}
	if kind := l.kinds[a.ref.Address]; kind != nil {
		for _, o := range kind.Outputs {
			if slices.Contains(in.Types, o.Type) {
				return fmt.Sprintf(" %s.%s would fit.", l.local(a.ref.Address), o.Name)
			}
		}
	}
	return ""
}

// local is an address as it is written in this file, where the stage stands in it.
func (l *loader) local(address string) string { return strings.TrimPrefix(address, l.prefix()) }

func typesOf(in *stages.Input) string {
	if slices.Contains(in.Types, "*") {
		return "an artifact of any type"
	}
	return "an artifact of type " + strings.Join(in.Types, " or ")
}

func inputsOf(k *stages.Kind) string {
	var names []string
	for _, i := range k.Inputs {
		names = append(names, i.Name)
	}
	if len(names) == 0 {
		return " " + k.Name + " has none."
	}
	return " The inputs of " + k.Name + ": " + strings.Join(names, ", ") + "."
}

func docOf(doc string) string {
	if doc == "" {
		return ""
	}
	return " " + doc
}

// sentence ends what an error says.
func sentence(err error) string {
	said := err.Error()
	if !strings.HasSuffix(said, ".") && !strings.HasSuffix(said, "?") {
		said += "."
	}
	return said
}

// mismatch says what was wanted and what was given; the converter's own words only where they say where inside.
func mismatch(name string, v cty.Value, want cty.Type, err error) string {
	given := v.Type().FriendlyName()
	if v.Type() == cty.String {
		given = "text"
		if s := v.AsString(); len(s) <= 40 {
			given = "text " + quoted(s)
		}
	}
	if want.IsPrimitiveType() || v.Type().IsPrimitiveType() {
		return fmt.Sprintf("%s takes a %s, and this is the %s.", name, want.FriendlyNameForConstraint(), given)
	}
	return fmt.Sprintf("%s takes a %s: %s.", name, want.FriendlyNameForConstraint(), err)
}

func (l *loader) secret(s *Stage, c *compiled, sec *stages.Secret, values map[string]cty.Value, ranges map[string]*hcl.Range) {
	v, at := values[sec.Name], ranges[sec.Name]
	if v == cty.NilVal {
		return
	}
	plain, ok := l.land(c, sec.Name, v, at)
	if !ok || plain.IsNull() {
		return
	}
	if plain.Type() != secretType {
		l.tell(c, sec.Name, at, "Secret wanted", "%s takes secret(\"NAME\"), where NAME is an environment variable that holds the secret; a value written here would be stored.", sec.Name)
		return
	}
	s.Secrets[sec.Name] = SecretRef{Variable: plain.EncapsulatedValue().(*SecretRef).Variable, Range: *at}
}

func secretsOf(k *stages.Kind) string {
	if len(k.Secrets) == 0 {
		return " " + k.Name + " takes no secrets."
	}
	return " Secrets go to " + k.Secrets[0].Name + "."
}
