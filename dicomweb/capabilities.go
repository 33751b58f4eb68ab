package dicomweb

type capabilities struct{}

func (s *Server) mountCapabilities() {}
