package rule

// Outside says what the rules look at beside a study: whether at the free room, and
// up to which number of studies it matters how many there are; -1 where it does not.
func (s Set) Outside() (free bool, studies int64) {
	studies = -1
	var look func(c *Condition)
	look = func(c *Condition) {
		free = free || c.Free != Rooms{}
		for _, n := range []*int64{c.Studies.Over, c.Studies.Under} {
			if n != nil {
				studies = max(studies, *n)
			}
		}
		for _, list := range [][]Condition{c.All, c.Any} {
			for i := range list {
				look(&list[i])
			}
		}
		if c.Not != nil {
			look(c.Not)
		}
	}
	for i := range s.Rules {
		look(&s.Rules[i].When)
	}
	return free, studies
}
