package dicomweb


func (s *Server) mountCapabilities() {}
