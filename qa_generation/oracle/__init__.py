"""The second opinion on generated records: geometry, rules and wordings written down again, apart from the generator."""
