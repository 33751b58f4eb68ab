package dicomweb

import "github.com/labstack/echo/v4"

func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc { return next }
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc   { return next }

// requestID names the request in the log, in problem documents and in the X-Request-Id header.
func requestID(c echo.Context) string { return c.Response().Header().Get("X-Request-Id") }
