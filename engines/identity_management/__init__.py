"""Identity Management: makes identities, and hands out the engines that sign and decrypt for them."""
