package main

import (
	"bufio"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func newLineage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lineage",
		Short: "Say where artifacts came from and what came of them",
		Long: `lineage follows artifacts through the records of all builds in the cache: up to what they were made of, down to what was
made of them. runs, diff, blame and sql ask the same index. It lies in the cache as ` + lineage.FileName + `, and can be deleted
at any time: it is made again from the records.`,
		Args: cobra.NoArgs, RunE: needsVerb,
	}
	cmd.AddCommand(newLineageUp(a), newLineageDown(a))
	for _, verb := range []*cobra.Command{newRuns(a), newDiff(a), newBlame(a), newSQL(a)} {
		verb.Hidden = true
		cmd.AddCommand(verb)
	}
	return cmd
}

// tracing is what `lineage up` and `lineage down` were asked for.
type tracing struct {
	lookup
	down   bool
	depth  int
	asJSON bool
}

func newLineageUp(a *app) *cobra.Command {
	return newTracing(a, &tracing{}, &cobra.Command{
		Use:   "up ARTIFACT|STAGE",
		Short: "Show what an artifact was made of",
		Long: `up shows what an artifact was made of, stage by stage, down to downloads with their sources and pinned files, and to local
files. An artifact is named by the beginning of its digest, or as STAGE.PORT; a stage stands for all of its outputs, and so
does the beginning of a record's digest or of a key.`,
		Example: `  tinfra lineage up perplexity.int4
  tinfra lineage up gptq.int4.model --json
  tinfra lineage up 53df83769658`,
	})
}

func newLineageDown(a *app) *cobra.Command {
	return newTracing(a, &tracing{down: true}, &cobra.Command{
		Use:   "down ARTIFACT|STAGE",
		Short: "Show what was made of an artifact",
		Long: `down shows everything that was made of an artifact, in any build of any recipe. An artifact is named as for
` + "`tinfra lineage up`.",
		Example: `  tinfra lineage down download.smollm2.files
  tinfra lineage down 40308ded --depth 1`,
	})
}

func newTracing(a *app, t *tracing, cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := a.openArchive(cmd.Context(), t.recipe)
		if err != nil {
			return err
		}
		return r.trace(cmd.Context(), args[0], t)
	}
	cmd.ValidArgsFunction = a.completeStages
	t.flags(cmd)
	cmd.Flags().IntVar(&t.depth, "depth", 0, "go this many stages far; 0 is all the way")
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "write JSON")
	return cmd
}

// root is an artifact that was asked for.
type root struct {
	Port     string           `json:"port,omitempty"`
	Artifact artifacts.Digest `json:"artifact"`
	run      *lineage.Run     // that was asked for with it; nil where an artifact was named by its digest
}

func (r *archive) trace(ctx context.Context, what string, t *tracing) error {
	if t.depth < 0 {
		return usage("--depth %d: give a number of stages from 0 on", t.depth)
	}
	roots, err := r.roots(ctx, what, t.lookup)
	if err != nil {
		return err
	}
	digests := make([]artifacts.Digest, len(roots))
	for i, root := range roots {
		digests[i] = root.Artifact
	}
	ask := r.index.Ancestors
	if t.down {
		ask = r.index.Descendants
	}
	g, err := ask(ctx, digests...)
	if err != nil {
		return err
	}
	if t.asJSON {
		return writeJSON(r.app.stdout, traceJSON(roots, g))
	}
	w := bufio.NewWriter(r.app.stdout)
	tree := &tree{w: w, graph: g, depth: t.depth, seen: map[artifacts.Digest]bool{}, address: map[artifacts.Digest]string{}}
	if err := tree.write(roots, t.down); err != nil {
		return err
	}
	return w.Flush()
}

// roots are the artifacts that a person named.
func (r *archive) roots(ctx context.Context, what string, s lookup) ([]root, error) {
	if !looksLikeAddress(what) {
		f, err := r.digestNamed(ctx, what)
		if err != nil {
			return nil, err
		}
		if len(f.Artifacts) == 1 {
			return []root{{Artifact: f.Artifacts[0]}}, nil
		}
		run, err := r.runOf(ctx, f)
		if err != nil {
			return nil, err
		}
		return outputsOfRun(run, ""), nil
	}
	address, port := splitPort(what)
	runs, err := r.runsAt(ctx, address, s.build, s)
	if err != nil {
		return nil, err
	}
	var out []root
	for i := range runs {
		out = append(out, outputsOfRun(&runs[i], port)...)
	}
	if len(out) == 0 {
		return nil, usage("%s has no output %s; it has: %s", address, port, listed(sortedKeys(runs[0].Outputs)))
	}
	return out, nil
}

// outputsOfRun are a run's outputs, or the one that is named.
func outputsOfRun(run *lineage.Run, port string) []root {
	var out []root
	for _, name := range sortedKeys(run.Outputs) {
		if port == "" || port == name {
			out = append(out, root{name, run.Outputs[name], run})
		}
	}
	return out
}

// graphJSON is a part of the lineage for programs: flat, since a tree would repeat what several stages share.
type graphJSON struct {
	Roots     []root             `json:"roots"`
	Artifacts []lineage.Artifact `json:"artifacts"`
	Runs      []lineage.Run      `json:"runs"`
}

func traceJSON(roots []root, g *lineage.Graph) graphJSON {
	j := graphJSON{Roots: roots, Artifacts: []lineage.Artifact{}, Runs: g.Runs}
	for _, a := range g.Artifacts {
		j.Artifacts = append(j.Artifacts, a)
	}
	slices.SortFunc(j.Artifacts, func(a, b lineage.Artifact) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	if j.Runs == nil {
		j.Runs = []lineage.Run{}
	}
	return j
}
