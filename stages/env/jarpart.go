package env

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// jarPart is where a jar is written that does not lie in a folder. It stays until an environment has what is wanted of it, so whoever was
// killed, or had no room for the rest, goes on with what came.
func (s *Set) jarPart(n native) string { return filepath.Join(s.cache, "tools", "jars", n.SHA256) }

// mavenSuffix ends the name of a folder beside a part that Maven brings a jar into.
const mavenSuffix = ".m2"

// holdJar waits until nobody else writes or reads the part. It comes after the lock of an environment.
func (s *Set) holdJar(ctx context.Context, n native, progress func(string)) (part string, release func(), err error) {
	part = s.jarPart(n)
	if err := os.MkdirAll(filepath.Dir(part), 0o777); err != nil {
		return "", nil, err
	}
	release, err = s.lock(ctx, jarLock(part), func() { progress("another build brings " + n.Maven + "; waiting") })
	return part, release, err
}

func jarLock(part string) string {
	return "jar-" + strings.TrimSuffix(filepath.Base(part), mavenSuffix)
}

// dropJars removes the parts that an environment was made of. One that another build has taken up is left to that.
func (s *Set) dropJars(all []native) {
	for _, n := range all {
		s.dropJar(s.jarPart(n))
	}
}

func (s *Set) dropJar(part string) {
	s.unlessHeld(jarLock(part), func() { _ = os.RemoveAll(part) })
}

// Sweep removes what installs and packs left that were killed, and jars that none of them goes on with.
func (s *Set) Sweep() {
	if os.MkdirAll(filepath.Dir(s.lockPath(packLock)), 0o777) != nil {
		return
	}
	s.sweep()
	s.unlessHeld(packLock, func() { discard(filepath.Join(s.cache, "env"), packPrefix) })
	jars, _ := filepath.Glob(filepath.Join(s.cache, "tools", "jars", "*"))
	for _, part := range jars {
		s.dropJar(part)
	}
}
