package env

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const needsFile = "requirements.in"

var needed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`) })

// Lacks compares an own interpreter with an environment: which of its direct needs are not there, and which are of another
// version than was locked, as "numpy 2.5.2, not 2.4.6". Who only has others may well do without.
func (s *Set) Lacks(ctx context.Context, name string) (missing, other []string, err error) {
	own, ok := s.Own(name)
	if !ok {
		return nil, nil, nil
	}
	direct, err := s.directNeeds(name)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.Blob(ctx, name); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.askOwn(ctx, own)
	if err != nil {
		return nil, nil, own.wrong(name, err)
	}
	has := map[string]string{}
	for _, one := range found.distributions {
		pkg, version, _ := strings.Cut(one, "==")
		version, _, _ = strings.Cut(version, " ")
		has[pkg] = version
	}
	locked := s.declared[name].versions()
	for _, need := range direct {
		version, there := has[need]
		release, _, _ := strings.Cut(version, "+") // a local version, as in 2.11.0+cu130, is the same release
		switch wanted := locked[need]; {
		case !there:
			missing = append(missing, need)
		case len(wanted) > 0 && !slices.Contains(wanted, version) && !slices.Contains(wanted, release):
			other = append(other, fmt.Sprintf("%s %s, not %s", need, version, strings.Join(wanted, " or ")))
		}
	}
	return missing, other, nil
}

// directNeeds are the names in requirements.in, sorted; none where there is no such file.
func (s *Set) directNeeds(name string) ([]string, error) {
	root, err := s.root(name)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(root, name+"/"+needsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the needs of environment %s: %w", name, err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if need := needed().FindString(strings.TrimSpace(line)); need != "" {
			all = append(all, normalName(need))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// versions are those that a lock allows of each package: one for each of its markers.
func (d *declaration) versions() map[string][]string {
	all := map[string][]string{}
	for _, entry := range d.lock {
		requirement, _, _ := strings.Cut(entry, " ")
		name, version, _ := strings.Cut(requirement, "==")
		name, _, _ = strings.Cut(name, "[")
		all[name] = append(all[name], version)
	}
	return all
}

func normalName(name string) string {
	return nameSeps().ReplaceAllString(strings.ToLower(name), "-")
}
