package policy

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkShape refuses what an agreement has no use for and a reader might miss: aliases, merged
// mappings, keys that are not words, and a key that is given twice. The decoder would find
// the last as well, but in time and memory that grow with the square of what was sent.
func checkShape(data []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return err
	}
	return checkNode(&root)
}

func checkNode(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: aliases are not read here; write it out", n.Line)
	}
	if n.Kind == yaml.MappingNode {
		first := map[string]int{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
				return fmt.Errorf("line %d: a key must be a word", k.Line)
			}
			if line, ok := first[k.Value]; ok {
				return fmt.Errorf("line %d: %q is given twice, first in line %d", k.Line, k.Value, line)
			}
			first[k.Value] = k.Line
		}
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}

// firstErrors shortens the decoder's list of errors, which has one for each thing wrong.
func firstErrors(err error) error {
	var list *yaml.TypeError
	if !errors.As(err, &list) || len(list.Errors) == 0 {
		return err
	}
	const shown = 5
	text := strings.Join(list.Errors[:min(shown, len(list.Errors))], "; ")
	if more := len(list.Errors) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return errors.New(text)
}
