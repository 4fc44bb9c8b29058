package run

// words finds each of a set of words in bytes that come piece by piece: the automaton of Aho and Corasick.
type words struct {
	nodes   []wordNode
	longest int // bytes of the longest word
}

type wordNode struct {
	next  map[byte]int32
	fail  int32 // the node of the longest proper end of this one's text that begins a word
	depth int   // bytes of this node's text
	found int   // bytes of the longest word that ends here; 0: none does
}

func newWords(all []string) *words {
	w := &words{nodes: []wordNode{{next: map[byte]int32{}}}}
	for _, word := range all {
		at := int32(0)
		for i := range len(word) {
			to, ok := w.nodes[at].next[word[i]]
			if !ok {
				to = int32(len(w.nodes))
				w.nodes = append(w.nodes, wordNode{next: map[byte]int32{}, depth: i + 1})
				w.nodes[at].next[word[i]] = to
			}
			at = to
		}
		w.nodes[at].found = len(word)
		w.longest = max(w.longest, len(word))
	}
	w.link()
	return w
}

// link fills in the fails, the short nodes first.
func (w *words) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c, to := range w.nodes[at].next {
			queue = append(queue, to)
			n := &w.nodes[to]
			if at != 0 {
				n.fail = w.step(w.nodes[at].fail, c)
			}
			n.found = max(n.found, w.nodes[n.fail].found)
		}
	}
}

// step is the node after one more byte.
func (w *words) step(at int32, c byte) int32 {
	for {
		if to, ok := w.nodes[at].next[c]; ok {
			return to
		}
		if at == 0 {
			return 0
		}
		at = w.nodes[at].fail
	}
}
