package artifacts

// Crash, where set, is told each named point of writing as it is reached. Tests set it before anything runs, to die
// there; it is nil in production.
var Crash func(step string)

// The named points, in the order in which one stage's result passes them.
const (
	StepPutWritten  = "put.written"   // a blob's bytes are in tmp/, not yet under their digest
	StepPutRenamed  = "put.renamed"   // a blob has its name
	StepAdoptTaken  = "adopt.taken"   // an output was moved out of the worker's reach, or read into memory
	StepAdoptHashed = "adopt.hashed"  // its files are hashed and, where it was moved, on stable storage
	StepAdoptNamed  = "adopt.renamed" // the first of its files is under its digest
	StepAdoptKept   = "adopt.kept"    // all of them are; who asked for one that was moved has not noted what they are
	StepManifest    = "manifest"
	StepAction      = "action"
	StepRecord      = "record"
	StepPointer     = "pointer.written" // a pointer's value is in tmp/
	StepRuns        = "runs"
	StepRecords     = "records"
	StepKeys        = "keys"
	StepBuildBlob   = "build"
	StepBuilds      = "builds"
	StepRefs        = "refs"
)

// Steps lists the named points.
var Steps = []string{
	StepPutWritten, StepPutRenamed, StepAdoptTaken, StepAdoptHashed, StepAdoptNamed, StepAdoptKept, StepManifest, StepAction,
	StepRecord, StepPointer, StepRuns, StepRecords, StepKeys, StepBuildBlob, StepBuilds, StepRefs,
}

// The named points of collecting garbage, in their order.
const (
	StepCollectKey        = "gc.key"        // the first of the pointers is deleted
	StepCollectKeys       = "gc.keys"       // all of them are
	StepCollectBlob       = "gc.blob"       // the first of the blobs is deleted
	StepCollectBlobs      = "gc.blobs"      // all of them are
	StepCollectCheckpoint = "gc.checkpoint" // the first of the abandoned checkpoints is deleted
)

// GCSteps lists them.
var GCSteps = []string{StepCollectKey, StepCollectKeys, StepCollectBlob, StepCollectBlobs, StepCollectCheckpoint}

// The named points of the work around publishing: of a stage's attempt in its workspace.
const (
	StepWorkLaid    = "work.laid"    // the workspace has all that the worker needs
	StepWorkStarted = "work.started" // the worker runs, and its handle is stored
	StepWorkNoted   = "work.noted"   // the workspace says what its outputs are in the store, or what record is about to be published
	StepWorkPinned  = "work.pinned"  // the recipe's lock names what a download resolved to
)

// WorkSteps lists them.
var WorkSteps = []string{StepWorkLaid, StepWorkStarted, StepWorkNoted, StepWorkPinned}

// The named points of installing an environment, and of removing one.
const (
	StepEnvAside   = "env.aside"   // the folder is made in which it will be filled
	StepEnvFilled  = "env.filled"  // it holds the packages
	StepEnvMarked  = "env.marked"  // and says what it is
	StepEnvDropped = "env.dropped" // a damaged one, or one that is removed, has lost its name
	StepEnvCleared = "env.cleared" // and is gone
	StepEnvRenamed = "env.renamed" // the new one has its name
)

// EnvSteps lists those of an installation over a damaged environment, in order.
var EnvSteps = []string{StepEnvAside, StepEnvFilled, StepEnvMarked, StepEnvDropped, StepEnvCleared, StepEnvRenamed}

// The named points of bringing the lineage index up to date.
const (
	StepIndexMade    = "lineage.made"    // the file is there, and empty
	StepIndexBatch   = "lineage.batch"   // a batch of names is in it
	StepIndexMarked  = "lineage.marked"  // a day is in it whole
	StepIndexFolded  = "lineage.folded"  // the log is in the file
	StepIndexDropped = "lineage.dropped" // an unusable index has lost its file, but not its log
)

// IndexSteps lists them.
var IndexSteps = []string{StepIndexMade, StepIndexBatch, StepIndexMarked, StepIndexFolded, StepIndexDropped}

// The named points of sharing: of bringing a result to where other machines find it, and of a build.
const (
	StepSharePack    = "share.pack"    // the first pack of a tree is there
	StepSharePacks   = "share.packs"   // all of them are
	StepShareMap     = "share.map"     // the tree's map is
	StepShareBlobs   = "share.blobs"   // manifests, environment, worker and log are
	StepShareAction  = "share.action"  // the action is
	StepShareRecord  = "share.record"  // the record is
	StepShareRuns    = "share.runs"    // runs/ lists it
	StepShareRecords = "share.records" // records/ does
	StepShareKeys    = "share.keys"    // keys/ leads to it, or to an earlier winner
	StepShareBuild   = "share.build"   // the build is there, and its recipe, lock, modules and logs
	StepShareIndex   = "share.index"   // its index is
	StepShareBuilds  = "share.builds"  // builds/ lists it
	StepShareRefs    = "share.refs"    // it is its recipe's last build
)

// ShareSteps lists them, in the order in which a result and then its build pass them.
var ShareSteps = []string{
	StepSharePack, StepSharePacks, StepShareMap, StepShareBlobs, StepShareAction, StepShareRecord, StepShareRuns, StepShareRecords,
	StepShareKeys, StepShareBuild, StepShareIndex, StepShareBuilds, StepShareRefs,
}

// Reached tells Crash of a named point. Stores call it too.
func Reached(step string) {
	if Crash != nil {
		Crash(step)
	}
}
