package main

import (
	"github.com/spf13/cobra"
)

const exitCodes = `Exit codes: 0 built · 1 internal · 2 mistake in the recipe or on the command line · 3 a stage failed ·
4 a require failed · 5 cache unreachable or corrupt · 130 interrupted.`

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
	}
	root.PersistentFlags().StringVar(&a.cacheDir, "cache", "", "folder of the cache (default $TINFRA_CACHE, else tinfra in the user's cache folder)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w\nSee `%s --help`.", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "recipe", Title: "Recipes:"},
		&cobra.Group{ID: "result", Title: "Results:"},
		&cobra.Group{ID: "house", Title: "This machine:"},
	)
	add := func(group string, verbs ...*cobra.Command) {
		for _, v := range verbs {
			v.GroupID = group
			args := v.Args
			if args != nil {
				v.Args = func(cmd *cobra.Command, given []string) error {
					if err := args(cmd, given); err != nil {
						return usage("%w\nUsage: %s", err, cmd.UseLine())
					}
					return nil
				}
			}
			root.AddCommand(v)
		}
	}
	add("recipe", newBuild(a), newPlan(a), newWhy(a), newGraph(a), newLock(a), newValidate(a), newFmt(a), newInit(a))
	add("result", newShow(a), newLog(a), newGet(a))
	add("house", newKinds(a), newCache(a), newEnv(a), newVersion(a))

	root.AddCommand(newDocs(a))
	root.SetHelpCommandGroupID("house")
	root.SetCompletionCommandGroupID("house")
	return root
}
