"""The second opinion on records: geometry, rules and wordings written down again, apart from the generator."""
