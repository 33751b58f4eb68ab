package dicomweb

// Searcher answers queries.
type Searcher interface{}

func (s *Server) mountSearch() {}
