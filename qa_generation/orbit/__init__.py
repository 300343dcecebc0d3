"""Questions about captures that go round one object: the capture, its geometry, the question families, the recheck."""
