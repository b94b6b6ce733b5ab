package place

// DefaultWidth is the number of near-best candidates that a task is drawn among when nothing is known of conflicts.
const DefaultWidth = 4

// MaxWidth bounds what NextWidth returns.
const MaxWidth = 1024

// One claim in twenty is the share of conflicts that NextWidth aims at.
const tolerated = 20

// NextWidth returns the width to draw with after `attempts` recently sent claims of which `conflicts` were refused.
//
// A claim that is drawn uniformly among w machines, while r rivals draw among the same, conflicts with chance about r/w. So
// a conflict fraction f seen at width w tells of about f·w rivals, and the width at which the fraction would be 1/20 is
// 20·f·w. One step goes there but never below half or above four times the width, as f is a small sample; the result
// stays in 1 … MaxWidth. With no conflicts it therefore halves: a narrow draw packs better. With no attempts nothing is
// learnt and the width stays.
func NextWidth(width, conflicts, attempts int) int {
	if width <= 0 {
		width = DefaultWidth
	}
	width = min(width, MaxWidth)
	if attempts <= 0 {
		return width
	}
	conflicts = min(max(conflicts, 0), attempts)
	ideal := (tolerated*conflicts*width + attempts - 1) / attempts
	return min(max(ideal, width/2, 1), 4*width, MaxWidth)
}
