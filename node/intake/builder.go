package intake

import (
	"crypto/sha256"
	"fmt"
)

// builder gathers a Result.
type builder struct {
	Result
	file string
	seen map[identity]bool
}

// identity is what makes two entries of a file duplicates: the same STIX id and bytes.
// Different bytes under one id are versions, and both are kept.
type identity struct {
	id   string
	hash [sha256.Size]byte
}

// add keeps an item unless it is a duplicate.
func (b *builder) add(item Item) {
	key := identity{item.Object.ID, sha256.Sum256(item.Object.Raw)}
	if b.seen[key] {
		b.Duplicates++
		return
	}
	b.seen[key] = true
	if item.Value == "" {
		item.observables, item.read = observables(item.Object), item.Object
		if len(item.observables) > 0 {
			item.Value = item.observables[0].Value
		}
	}
	item.Object.Line = item.Line
	item.Handling.Normalise()
	b.Items = append(b.Items, item)
}

func (b *builder) problem(line int, format string, args ...any) {
	b.Problems = append(b.Problems, Problem{File: b.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

// finish applies the labels and says what a person should know.
func (b *builder) finish(labels *Labels) {
	if labels != nil {
		matched := 0
		for i := range b.Items {
			if labels.Apply(&b.Items[i]) {
				matched++
			}
		}
		b.note("%d of %d items have a label", matched, len(b.Items))
	}
	if b.Duplicates > 0 {
		b.note("%d entries occur more than once and are counted once", b.Duplicates)
	}
}
