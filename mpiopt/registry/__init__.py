"""What has a name: methods, losses, compressors, rules, readers; ours and those that come from outside."""
