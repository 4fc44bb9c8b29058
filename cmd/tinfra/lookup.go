package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// lookup is where a verb looks for a stage's result: in one build, or in the last ones.
type lookup struct {
	recipe string
	build  string
}

func (s *lookup) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.build, "build", "", "the build to look in, by ID or the beginning of it (default: the last)")
	cmd.Flags().StringVar(&s.recipe, "recipe", "", "the recipe whose builds count (default: the one in this folder)")
	_ = cmd.RegisterFlagCompletionFunc("recipe", completeRecipes) // fails only for a flag that is not there
}

// findBuild is the build that was asked for, else the recipe's last one, else the last of all.
func (h *house) findBuild(ctx context.Context, s lookup) (*artifacts.Build, error) {
	if s.build != "" {
		b, err := h.cache.Build(ctx, s.build)
		if errors.Is(err, artifacts.ErrMissing) {
			return nil, usage("--build %s: there is no such build in %s", s.build, h.store.Dir())
		}
		return b, err
	}
	if h.recipePath != "" {
		b, err := h.cache.LastBuild(ctx, h.recordedPath(h.recipePath))
		if err == nil || !errors.Is(err, artifacts.ErrMissing) {
			return b, err
		}
		if b, err := h.buildElsewhere(ctx); b != nil || err != nil {
			return b, err
		}
		if s.recipe != "" {
			return nil, usage("%s was not built yet in %s", s.recipe, h.store.Dir())
		}
	}
	for b, err := range h.cache.Builds(ctx) {
		if err == nil {
			return b, nil
		}
	}
	return nil, usage("nothing was built yet in %s", h.store.Dir())
}

// buildElsewhere is the recipe's last build in the shared cache; nil where there is none, or it is not to be asked.
func (h *house) buildElsewhere(ctx context.Context) (*artifacts.Build, error) {
	if !h.asks {
		return nil, nil
	}
	if h.remote == nil {
		if err := h.joinFor(ctx, h.recipePath, false); err != nil || h.remote == nil {
			return nil, err
		}
	}
	return h.remote.LastBuild(), nil
}

// findStep is what became of a stage. Without --build, earlier builds are searched too where the last one left the
// stage out.
func (h *house) findStep(ctx context.Context, address string, s lookup) (artifacts.Step, error) {
	b, err := h.findBuild(ctx, s)
	if err != nil {
		return artifacts.Step{}, err
	}
	if step, ok := b.Step(address); ok {
		return step, nil
	}
	if s.build == "" {
		for earlier, err := range h.cache.Builds(ctx) {
			if err != nil || earlier.RecipePath != b.RecipePath && h.recipePath != "" {
				continue
			}
			if step, ok := earlier.Step(address); ok {
				return step, nil
			}
		}
	}
	names := make([]string, 0, len(b.Steps))
	for _, step := range b.Steps {
		names = append(names, step.Address)
	}
	return artifacts.Step{}, usage("build %s has no stage %s; it has: %s", b.ID, address, strings.Join(names, ", "))
}

// looksLikeAddress tells kind.name from digests and IDs of builds, which have no dot.
func looksLikeAddress(s string) bool { return strings.Contains(s, ".") }

const leastDigits = 4 // of a digest: fewer name half the cache

// isDigest tells a digest, or the beginning of one, from a name.
func isDigest(s string) bool {
	hex := strings.TrimPrefix(s, "sha256:")
	return len(hex) >= leastDigits && strings.Trim(hex, "0123456789abcdef") == ""
}

// findDigest completes the beginning of a digest.
func (h *house) findDigest(ctx context.Context, s string) (artifacts.Digest, error) {
	hex := strings.TrimPrefix(s, "sha256:")
	if d, err := artifacts.ParseHex(hex); err == nil {
		return d, nil
	}
	if !isDigest(s) {
		return artifacts.Digest{}, usage("%q is no stage, no build and no digest", s)
	}
	var found []artifacts.Digest
	for blob, err := range h.store.All(ctx) {
		if err != nil {
			return artifacts.Digest{}, fmt.Errorf("listing the cache: %w", err)
		}
		if strings.HasPrefix(blob.Digest.Hex(), hex) {
			found = append(found, blob.Digest)
		}
	}
	switch len(found) {
	case 0:
		return artifacts.Digest{}, usage("nothing in %s begins with %q", h.store.Dir(), s)
	case 1:
		return found[0], nil
	default:
		return artifacts.Digest{}, usage("%q is the beginning of %d digests; say more of it", s, len(found))
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
