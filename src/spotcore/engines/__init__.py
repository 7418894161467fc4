"""Decision engines that come with the core."""
