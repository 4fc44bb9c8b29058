package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const exitCodes = `Exit codes: 0 built · 1 internal · 2 mistake in the recipe or on the command line · 3 a stage failed ·
4 a require failed · 5 cache unreachable or corrupt · 130 interrupted · 141 the reader of the answer went away.`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tinfra",
		Short: "Build model artifacts from recipes",
		Long: `tinfra builds model artifacts: a recipe in HCL describes stages; tinfra runs those that must run, keeps every
output in a content-addressed cache, and can say afterwards where each byte came from.

` + exitCodes,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,

		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE:                       unknownVerb,
	}
	root.Version, _ = versionAndCommit()
	root.SetVersionTemplate("tinfra {{.Version}}\n")
	root.PersistentFlags().StringVar(&a.cacheDir, "cache", "", "folder of the cache (default $TINFRA_CACHE, else tinfra in the user's cache folder)")
	root.PersistentFlags().StringVar(&a.remote, "remote", "", "the shared cache, s3://BUCKET/PREFIX?endpoint=URL, or none (default $TINFRA_REMOTE, else what tinfra.hcl says)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w\nSee `%s --help`.", flagTrouble(err), cmd.CommandPath())
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages ", "FlagUsagesWrapped 80 "))
	root.AddGroup(
		&cobra.Group{ID: "recipe", Title: "Recipes:"},
		&cobra.Group{ID: "result", Title: "Results:"},
		&cobra.Group{ID: "house", Title: "This machine:"},
	)
	add := func(group string, verbs ...*cobra.Command) {
		for _, v := range verbs {
			v.GroupID = group
			root.AddCommand(v)
		}
	}
	add("recipe", newBuild(a), newPlan(a), newWhy(a), newGraph(a), newLock(a), newValidate(a), newFmt(a), newInit(a))
	add("result", newShow(a), newLog(a), newGet(a), newReport(a))
	add("result", newLineage(a), newRuns(a), newDiff(a), newBlame(a), newSQL(a))
	add("house", newKinds(a), newCache(a), newEnv(a), newDoctor(a), newVersion(a))

	root.AddCommand(newDocs(a))
	root.SetHelpCommandGroupID("house")
	root.SetCompletionCommandGroupID("house")
	strict(root)
	return root
}

// flagTrouble says in words what Go says of a number that is none.
func flagTrouble(err error) error {
	number, ok := errors.AsType[*strconv.NumError](err)
	if !ok || number.Func != "ParseInt" {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), number.Error(), "give a whole number"))
}

// unknownVerb is what the root itself is run for: no argument, or one that is no verb.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	near := ""
	if all := cmd.SuggestionsFor(args[0]); len(all) > 0 {
		near = fmt.Sprintf(" Did you mean %s?", strings.Join(all, " or "))
	}
	return usage("there is no verb %q.%s `tinfra help` lists them", args[0], near)
}

// strict makes wrong arguments a mistake of usage, with the right form beside it.
func strict(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usage("%w\nUsage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}
