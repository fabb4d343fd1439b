"""What every long command needs: files, folder runs, failures, progress, workers, devices."""
