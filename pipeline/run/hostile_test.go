package run_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// What a worker does to its own workspace can neither hold the builder, nor lead it elsewhere, nor make it publish.
func TestAWorkerThatTurnsOnItsWorkspace(t *testing.T) {
	const nested = `head -c 500000 /dev/zero | tr '\0' '['`
	for name, c := range map[string]struct {
		script string
		says   []string // none: it ends well
	}{
		"result is a folder":     {`echo x > out/files/x; mkdir result.json`, []string{"left no usable result", "result.json is not a file"}},
		"result is a pipe":       {`echo x > out/files/x; mkfifo result.json`, []string{"result.json is not a file"}},
		"result is a link":       {`echo x > out/files/x; ln -s /etc/passwd result.json`, []string{"result.json is a link"}},
		"result of a gigabyte":   {`echo x > out/files/x; truncate -s 1G result.json`, []string{"longer than 1048576 bytes"}},
		"result nested deep":     {`echo x > out/files/x; (printf '{"protocol":1,"labels":'; ` + nested + `) > result.json`, []string{"not JSON"}},
		"result not UTF-8":       {`echo x > out/files/x; printf '{"protocol":1,"labels":{"a":"\377"}}' > result.json`, []string{"UTF-8"}},
		"events are a pipe":      {`mkfifo events.jsonl` + "\n" + hello, nil},
		"events are a link":      {`ln -s /etc/passwd events.jsonl` + "\n" + hello, nil},
		"events are a folder":    {`mkdir events.jsonl` + "\n" + hello, nil},
		"events nested deep":     {nested + ` > events.jsonl; echo >> events.jsonl` + "\n" + hello, nil},
		"events with a huge gap": {`truncate -s 1T events.jsonl; echo >> events.jsonl` + "\n" + hello, nil},
		"stdout becomes a pipe":  {`rm stdout; mkfifo stdout; sleep 0.3` + "\n" + hello, nil},
		"stdout becomes a link":  {`rm stdout; ln -s /dev/zero stdout; sleep 0.3` + "\n" + hello, nil},
		"stderr with a huge gap": {`truncate -s 1T stderr; echo last >&2` + "\n" + hello, nil},
		"no request any more":    {`rm request.json handle.json` + "\n" + hello, nil},
		"a pipe for a handle":    {`rm handle.json request.json; mkfifo handle.json request.json` + "\n" + hello, nil},
		"no streams any more":    {`rm stdout stderr supervisor.log` + "\n" + hello, nil},
		"outputs elsewhere":      {`rm -r out; mkdir -p $ELSEWHERE/files; echo mine > $ELSEWHERE/files/x; ln -s $ELSEWHERE out` + "\n" + done, []string{"out a link"}},
		"an output elsewhere":    {`rm -r out/files; mkdir -p $ELSEWHERE; echo mine > $ELSEWHERE/x; ln -s $ELSEWHERE out/files` + "\n" + done, []string{"out/files"}},
		"outputs are a file":     {`rm -r out; echo x > out` + "\n" + done, []string{"out"}},
		"inputs elsewhere":       {`chmod -R u+w in; mv in/files $ELSEWHERE; ln -s $ELSEWHERE in/files` + "\n" + hello, []string{"changed its input files"}},
		"a full folder for exit": {`mkdir -p exit.json/x` + "\n" + hello, []string{"exit.json is not a file"}},
		"a pipe for an exit":     {`rm exit.json.part; mkfifo exit.json.part` + "\n" + hello, []string{"writing how the worker ended"}},
		"a link for an exit":     {`rm exit.json.part; echo mine > $ELSEWHERE; ln -s $ELSEWHERE exit.json.part` + "\n" + hello, []string{"writing how the worker ended"}},
		"no workspace any more":  {`cd /; chmod -R u+w $TINFRA_WORKSPACE; rm -r $TINFRA_WORKSPACE`, []string{"no word of how it ended"}},
		"a full TMPDIR":          {`for i in 1 2 3; do mkdir -p $TMPDIR/$i/a/b; chmod 0 $TMPDIR/$i/a; done` + "\n" + hello, nil},
		"a deep TMPDIR":          {`cd $TMPDIR; for i in $(seq 300); do mkdir dddddddddddddddddddddddddddddd; cd dddddddddddddddddddddddddddddd; done; cd $TINFRA_WORKSPACE` + "\n" + hello, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			script := "ELSEWHERE=" + elsewhere + "\n" + c.script
			b := newBench(t, kinds{"good": {"", hello}, "bad": {badPorts, script}}, badRecipe)
			b.options.Retries, b.options.Clock = -1, &instant{}
			began := time.Now()
			if c.says == nil {
				b.record(b.ok()["bad.x"])
			} else {
				b.noRecord(b.fails(run.ExitStage, c.says...)["bad.x"].Key)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if _, err := os.Lstat(elsewhere); strings.Contains(name, "elsewhere") != (err == nil) && name != "a link for an exit" {
				t.Errorf("what lies elsewhere: %v", err)
			}
			if text, err := os.ReadFile(elsewhere); name == "a link for an exit" && (err != nil || string(text) != "mine\n") {
				t.Errorf("what lies elsewhere was written to: %q, %v", text, err)
			}
			if !strings.Contains(name, "inputs") {
				return
			}
			b.kinds["bad"] = kind{badPorts, `test "$(cat in/files/greeting)" = hello || exit 5` + "\n" + hello}
			b.states(map[string]artifacts.State{"good.in": "hit", "bad.x": "ran"}, b.ok())
		})
	}
}
