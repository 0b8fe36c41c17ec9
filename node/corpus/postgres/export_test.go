package postgres

import "context"

// SetBatch sets how many changes a step writes.
func SetBatch(m *Mirror, n int) { m.batch = n }

// Advance writes one step, and reports whether there was one.
func (m *Mirror) Advance(ctx context.Context) (bool, error) {
	if m.at == nil {
		at, err := m.attach(ctx)
		if err != nil {
			return false, err
		}
		m.at = &at
	}
	before := *m.at
	next, err := m.advance(ctx, before)
	if err != nil {
		m.at = nil
		return false, err
	}
	*m.at = next
	return next != before, nil
}
