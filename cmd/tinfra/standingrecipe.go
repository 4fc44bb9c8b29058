package main

import (
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// read gives the recipe with its surroundings. One that nothing has changed of since the last build is as that build left it. From
// here on what is read is taken down apart: the recipe does not depend on it.
func (t *site) read(a *app, path string, s *selection) (err error) {
	if !t.restore(a, path, s) {
		if t.house, t.recipe, err = a.read(path, s); err != nil {
			return err
		}
	}
	if t.loading = a.reads; t.loading != nil {
		a.reads = reading.NewLog()
	}
	return nil
}

// restore is false where the recipe has to be loaded. What goes wrong here loading meets again, and tells it.
func (t *site) restore(a *app, path string, s *selection) bool {
	k := t.known
	if k == nil || !k.sameRecipe || k.of.Snapshot.IsZero() || s.check() != nil {
		return false
	}
	h, err := a.houseWith(dirOf(path), k.of.Kinds)
	if err != nil || h.open() != nil {
		return false
	}
	packed := h.store.Recall(snapshotName(k.of.name))
	if artifacts.Sum([]byte(packed)) != k.of.Snapshot {
		return false // it is that of a later build
	}
	r, err := recipe.Restore(packed, h.catalog)
	if err != nil {
		return false
	}
	h.recipePath = path
	a.reads.AllAgain(&k.of.Loaded)
	t.house, t.recipe, t.restored = h, r, k.of.Snapshot
	return true
}

// keepRecipe remembers the recipe beside the build, and gives the digest of what it remembers: zero where that is nothing.
func (t *site) keepRecipe(name artifacts.Digest) artifacts.Digest {
	if !t.restored.IsZero() {
		return t.restored
	}
	packed, ok := t.recipe.Snapshot()
	if !ok {
		return artifacts.Digest{}
	}
	t.store.Remember(snapshotName(name), t.recordedPath(t.recipe.Path), packed)
	return artifacts.Sum(packed)
}

// kindFolders are those of the kinds that the recipe has stages of. A report may tell of others, that were compared with these.
func (t *site) kindFolders() []string {
	if len(t.recipe.Reports) > 0 {
		return nil
	}
	var folders []string
	for _, st := range t.recipe.Stages {
		if !slices.Contains(folders, st.Kind.Dir) {
			folders = append(folders, st.Kind.Dir)
		}
	}
	return folders
}

// snapshotName is for the recipe of the request that has a name.
func snapshotName(request artifacts.Digest) artifacts.Digest {
	return artifacts.Sum([]byte("recipe of " + request.String()))
}
