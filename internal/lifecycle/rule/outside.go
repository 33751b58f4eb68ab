package rule

// Outside says what the rules look at beside a study: the free room, the number of studies.
func (s Set) Outside() (free, studies bool) {
	var look func(c *Condition)
	look = func(c *Condition) {
		free = free || c.Free != Rooms{}
		studies = studies || c.Studies != Counts{}
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
