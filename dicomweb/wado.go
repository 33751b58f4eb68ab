package dicomweb

// Retriever opens what is stored.
type Retriever interface{}

func (s *Server) mountRetrieve() {}
