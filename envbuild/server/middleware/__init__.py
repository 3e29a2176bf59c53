"""What stands around the routes: what each request goes through before and after its answer is made."""
