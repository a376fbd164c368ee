"""What records inside other frameworks; each is imported only when somebody asks for it."""
